package broker

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/aadsts"
)

// What is a matter of the app's own page.
func TestIsConsent(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err  error
		want bool
	}{
		"the code":             {&Error{Code: 65001}, true},
		"the suberror":         {&Error{SubError: "consent_required"}, true},
		"the error":            {&Error{OAuth: "consent_required"}, true},
		"MFA":                  {&Error{Code: 50076, OAuth: "interaction_required", SubError: "basic_action"}, false},
		"not from the service": {errors.New("no route"), false},
		"nothing that it says": {&Error{}, false},
	} {
		require.Equal(t, tt.want, isConsent(tt.err), name)
	}
}

// What another device code would not help against either.
func TestBlockedAs(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]bool{53003: true, 53000: true, 50076: false, 65001: false, 0: false, 99999999: false} {
		_, got := blockedAs(code)
		require.Equal(t, want, got, code)
	}
	was, _ := blockedAs(53000)
	require.Equal(t, aadsts.DeviceNotCompliant, was)
	was, _ = blockedAs(53003)
	require.Equal(t, aadsts.Blocked, was)
}
