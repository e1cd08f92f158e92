package signon

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/prt"
)

// A token that was to be bound to a key is not taken as a bearer token, which
// whoever reads it could use.
func TestBearerInPlaceOfPoP(t *testing.T) {
	t.Parallel()
	e := &Engine{cfg: Config{Now: time.Now}}
	for _, tt := range []struct {
		name, confirmation, reply, says string
	}{
		{"bearer asked and given", "", `"token_type":"Bearer"`, ""},
		{"bound asked and given", "key", `"token_type":"pop"`, ""},
		{"bound in another case", "key", `"token_type":"PoP"`, ""},
		{"bound asked, bearer given", "key", `"token_type":"Bearer"`, "not bound to the key"},
		{"bound asked, nothing said", "key", `"scope":"x"`, "not bound to the key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := prt.ParseTokens([]byte(`{"access_token":"at","expires_in":3600,` + tt.reply + `}`))
			require.NoError(t, err)
			err = e.checkToken(Request{Confirmation: tt.confirmation}, r, &sts.Reply{})
			if tt.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.says)
		})
	}
}
