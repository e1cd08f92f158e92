package broker_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
)

// A result that is printed, logged or marshalled says which tokens it has and
// shows none.
func TestResultShowsNoToken(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		res    broker.AuthResult
		tokens []string // in the JSON
	}{
		"both":         {broker.AuthResult{AccessToken: "an-access-token", IDToken: "an-id-token"}, []string{"AccessToken", "IDToken"}},
		"access token": {broker.AuthResult{AccessToken: "an-access-token"}, []string{"AccessToken"}},
		"id_token":     {broker.AuthResult{IDToken: "an-id-token"}, []string{"IDToken"}},
		"none":         {broker.AuthResult{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			tt.res.Account.PreferredUsername, tt.res.ExpiresOn = alice, time.Unix(1, 0)
			raw, err := json.Marshal(tt.res)
			require.NoError(t, err)
			var m map[string]any
			require.NoError(t, json.Unmarshal(raw, &m))
			var tokens []string
			for _, k := range []string{"AccessToken", "IDToken"} {
				if v, ok := m[k]; ok {
					require.Equal(t, "[redacted]", v)
					tokens = append(tokens, k)
				}
			}
			require.Equal(t, tt.tokens, tokens)
			text := fmt.Sprintf("%v %+v %#v %s", tt.res, tt.res, tt.res, raw)
			require.Equal(t, 4*len(tokens), strings.Count(text, "[redacted]"))
			var log strings.Builder
			slog.New(slog.NewTextHandler(&log, nil)).Info("got", "result", tt.res)
			for _, secret := range []string{"an-access-token", "an-id-token"} {
				require.NotContains(t, text+log.String(), secret)
			}
			require.Contains(t, text, alice)
			require.Contains(t, log.String(), alice)
		})
	}
}
