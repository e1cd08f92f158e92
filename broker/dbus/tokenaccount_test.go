package dbus_test

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/dbus"
	"github.com/prtbroker/prtbroker/broker/dbus/internal/wire"
)

// A token is of the account that the reply names or, without that, of the one in
// client_info, as in the caches of MSAL, even if another was asked for. An id_token
// alone says it only where nobody was asked for: for a guest it has the ids of the
// other tenant.
func TestAccountOfToken(t *testing.T) {
	b64 := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	idToken := func(oid, tid string) string {
		return b64(`{"alg":"none"}`) + "." + b64(`{"oid":"`+oid+`","tid":"`+tid+`","preferred_username":"a@contoso.example","name":"A"}`) + ".c2ln"
	}
	info := func(uid, utid string) string { return b64(`{"uid":"` + uid + `","utid":"` + utid + `"}`) }
	asked := broker.Account{HomeAccountID: "u.t", Environment: "login.windows.net", Realm: "t", LocalAccountID: "u", PreferredUsername: "kept@contoso.example"}
	found := func(home, realm, local string) broker.Account {
		return broker.Account{HomeAccountID: home, Environment: "login.windows.net", Realm: realm, LocalAccountID: local, PreferredUsername: "a@contoso.example", Name: "A"}
	}
	nameless := found("v.t", "t", "v")
	nameless.PreferredUsername, nameless.Name = "", ""
	for name, tt := range map[string]struct {
		token wire.Token
		asked broker.Account
		want  broker.Account
	}{
		"the reply names it":                {wire.Token{Account: wire.Account{HomeAccountID: "w.t"}, ClientInfo: info("u", "t")}, asked, broker.Account{HomeAccountID: "w.t"}},
		"the one that was asked for":        {wire.Token{ClientInfo: info("U", "t"), IDToken: idToken("u", "t")}, asked, asked},
		"another one":                       {wire.Token{ClientInfo: info("v", "t"), IDToken: idToken("v", "t")}, asked, found("v.t", "t", "v")},
		"another one, and no id_token":      {wire.Token{ClientInfo: info("v", "t")}, asked, nameless},
		"a guest":                           {wire.Token{ClientInfo: info("u", "t"), IDToken: idToken("g", "other")}, asked, asked},
		"a guest, nobody asked for":         {wire.Token{ClientInfo: info("u", "t"), IDToken: idToken("g", "other")}, broker.Account{}, found("u.t", "t", "u")},
		"a guest, and no client_info":       {wire.Token{IDToken: idToken("g", "other")}, asked, asked},
		"by id_token, nobody asked for":     {wire.Token{IDToken: idToken("v", "t")}, broker.Account{}, found("v.t", "t", "v")},
		"asked for by name":                 {wire.Token{ClientInfo: info("v", "t"), IDToken: idToken("v", "t")}, broker.Account{PreferredUsername: "a@contoso.example"}, found("v.t", "t", "v")},
		"client_info that is none":          {wire.Token{ClientInfo: "%", IDToken: idToken("v", "t")}, asked, asked},
		"half a client_info":                {wire.Token{ClientInfo: info("v", ""), IDToken: idToken("v", "t")}, asked, asked},
		"nothing":                           {wire.Token{}, asked, asked},
		"nothing, and nobody was asked for": {wire.Token{}, broker.Account{}, broker.Account{}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tt.want, dbus.AccountOf(&tt.token, tt.asked)) })
	}
}
