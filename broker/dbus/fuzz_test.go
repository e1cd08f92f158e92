package dbus_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/dbus"
	"github.com/prtbroker/prtbroker/broker/dbus/internal/wire"
)

// A stub is a broker with one account and one secret, which says for whom and
// what it was asked.
type stub struct {
	asked func(app broker.Options, scopes []string)
}

var stubAccount = broker.Account{HomeAccountID: "o.t", Environment: "login.windows.net", Realm: "t", LocalAccountID: "o", PreferredUsername: alice}

func (s *stub) token(scopes []string, opts []broker.CallOption) (broker.AuthResult, error) {
	o, err := broker.ResolveOptions(opts...)
	if err != nil {
		return broker.AuthResult{}, err
	}
	s.asked(o, scopes)
	return broker.AuthResult{Account: stubAccount, AccessToken: "secret", ExpiresOn: time.Unix(1772445600, 0)}, nil
}

func (s *stub) Accounts(context.Context) ([]broker.Account, error) {
	return []broker.Account{stubAccount}, nil
}
func (s *stub) AcquireTokenSilent(_ context.Context, scopes []string, opts ...broker.CallOption) (broker.AuthResult, error) {
	return s.token(scopes, opts)
}
func (s *stub) AcquireTokenInteractive(_ context.Context, scopes []string, opts ...broker.CallOption) (broker.AuthResult, error) {
	return s.token(scopes, opts)
}
func (s *stub) RemoveAccount(context.Context, broker.Account) error { return nil }
func (s *stub) SSOCookies(_ context.Context, address string, _ ...broker.CallOption) ([]*http.Cookie, error) {
	return nil, errors.New(address[:0] + "no cookie")
}
func (s *stub) SignedHTTPRequest(context.Context, string, broker.PoP) (string, error) {
	return "signed", nil
}

// Whatever the JSON of a method: the reply is JSON of the shape that clients
// read, what no caller gets is never asked for, and an account that the request
// does not name is never served.
func FuzzHandle(f *testing.F) {
	files, err := filepath.Glob("testdata/requests/*.json")
	require.NoError(f, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(f, err)
		_, method, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".json"), ".")
		for i, m := range wire.Methods {
			if m == method {
				f.Add(uint8(i), strings.NewReplacer("{home}", "o.t", "{oid}", "o", "{tid}", "t", "{upn}", alice, "{openClient}", appID).Replace(string(text)))
			}
		}
	}
	f.Add(uint8(2), `{"authParameters":{"clientId":"29d9ed98-a469-4536-ade2-f981bc1d605e","requestedScopes":["urn:ms-drs:enterpriseregistration.windows.net/.default"]}}`)
	f.Add(uint8(2), `{"authParameters":null,"account":"","clientId":1,"requestedScopes":"a b"}`)
	f.Fuzz(func(t *testing.T, n uint8, request string) {
		method := "unknown"
		if int(n) < len(wire.Methods) {
			method = wire.Methods[n]
		}
		s := &stub{asked: func(o broker.Options, scopes []string) {
			require.NotEqual(t, "29d9ed98-a469-4536-ade2-f981bc1d605e", strings.ToLower(o.App.ClientID))
			require.NotEmpty(t, scopes)
			for _, scope := range scopes {
				require.NotContains(t, strings.ToLower(scope), "urn:ms-drs")
				require.NotContains(t, strings.ToLower(scope), "01cb2876-7ebd-4aa4-9cc9-d28bd4d359a9")
			}
			if method == wire.AcquireSilently {
				require.Equal(t, stubAccount, o.Account)
			}
		}}
		h := &dbus.Handler{Broker: func(dbus.Caller) (dbus.Broker, error) { return s, nil }}
		reply := h.Handle(t.Context(), self, method, "0.0", "", request)
		var v map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(reply), &v), "%s", reply)
		if r, err := wire.ParseReply(method, reply); err == nil && r.Error != nil {
			require.NotZero(t, r.Error.Tag, reply)
			require.NotEmpty(t, r.Error.Context, reply)
			require.NotContains(t, reply, "secret")
		}
	})
}
