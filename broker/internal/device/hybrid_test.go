package device

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/tpm"
)

// A registration is sent once: again only if the service said that the directory does
// not have the computer yet, or if nothing was sent.
func TestUnsynced(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err  error
		want bool
	}{
		"it is done":               {nil, false},
		"not in the directory yet": {&sts.Error{Said: true, OAuth: "DirectoryError"}, true},
		"wrapped":                  {fmt.Errorf("joining: %w", &sts.Error{Said: true, OAuth: "DirectoryError"}), true},
		"another refusal":          {&sts.Error{Said: true, OAuth: "AuthenticationError"}, false},
		"a refusal without a code": {&sts.Error{Said: true}, false},
		"the words of a stranger":  {&sts.Error{OAuth: "DirectoryError"}, false},
		"no answer":                {&sts.Error{}, false},
		"the TPM was busy":         {fmt.Errorf("signing: %w", tpm.ErrBusy), true},
		"the TPM is gone":          {tpm.ErrNoTPM, false},
		"the caller left":          {context.Canceled, false},
		"anything else":            {errors.New("lost"), false},
	} {
		require.Equal(t, tt.want, unsynced(tt.err), name)
	}
}
