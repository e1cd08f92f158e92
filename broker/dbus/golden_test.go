package dbus_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/dbus"
	"github.com/prtbroker/prtbroker/broker/dbus/internal/wire"
	"github.com/prtbroker/prtbroker/claims"
)

var update = flag.Bool("update", false, "write the golden replies")

// self is this process as a caller.
var self = dbus.Caller{UID: uint32(os.Getuid()), PID: 7, Name: ":1.7"}

const correlation = "6f1b9a52-0d3c-4a77-9a10-5b1f8e2c7d44"

// The requests of every client are answered with what that client needs. Their
// shapes are those that were measured and read; the values are invented.
func TestGoldenRequests(t *testing.T) {
	w := newWorld(t)
	files, err := filepath.Glob("testdata/requests/*.json")
	require.NoError(t, err)
	require.Len(t, files, 26)
	slices.SortFunc(files, func(a, b string) int { // who removes the account comes last
		if strings.Contains(a, "removeAccount") != strings.Contains(b, "removeAccount") {
			if strings.Contains(a, "removeAccount") {
				return 1
			}
			return -1
		}
		return strings.Compare(a, b)
	})
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		client, method, _ := strings.Cut(name, ".")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			from := self
			from.Name += client // a program of its own
			reply := w.h.Handle(t.Context(), from, method, wire.Protocol, correlation, w.fill(t, string(text)))
			satisfied(t, client, method, reply)
			golden := filepath.Join("testdata", "replies", name+".json")
			got := w.scrub(t, reply)
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), got)
		})
	}
}

// fill puts the signed-in user into a request.
func (w *world) fill(t *testing.T, text string) string {
	t.Helper()
	held := ""
	if strings.Contains(text, "{token}") {
		res, err := w.b.AcquireTokenSilent(t.Context(), []string{"https://management.azure.com/.default"}, broker.WithApp(broker.App{ClientID: cliID, RedirectURI: native}))
		require.NoError(t, err)
		held = res.AccessToken
	}
	return strings.NewReplacer(
		"{home}", w.acct.HomeAccountID, "{oid}", w.acct.LocalAccountID, "{tid}", w.acct.Realm, "{upn}", w.acct.PreferredUsername,
		"{clientInfo}", wire.ClientInfo(w.acct.HomeAccountID), "{nonce}", w.nonce(t), "{now}", strconv.FormatInt(w.clock.Now().Unix(), 10),
		"{token}", held, "{openClient}", appID,
	).Replace(text)
}

// nonce asks the service for one, as a sign-in page has it.
func (w *world) nonce(t *testing.T) string {
	t.Helper()
	res, err := w.srv.Client().PostForm("https://login.microsoftonline.com/common/oauth2/token", map[string][]string{"grant_type": {"srv_challenge"}})
	require.NoError(t, err)
	defer res.Body.Close()
	var v struct{ Nonce string }
	require.NoError(t, json.NewDecoder(res.Body).Decode(&v))
	require.NotEmpty(t, v.Nonce)
	return v.Nonce
}

var (
	jwt = regexp.MustCompile(`"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"`)
	// What a .default stands for is the tenant's.
	all   = regexp.MustCompile(`("grantedScopes": "[^" ]+/\.default) [^"]+"`)
	times = regexp.MustCompile(`("(?:expiresOn|extendedExpiresOn)": )\d{13}\b`)
)

// scrub replaces what is another one in each run.
func (w *world) scrub(t *testing.T, reply string) string {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal([]byte(reply), &v), "%s", reply)
	out, err := json.MarshalIndent(v, "", "  ")
	require.NoError(t, err)
	s := jwt.ReplaceAllString(string(out)+"\n", `"<JWT>"`)
	s = all.ReplaceAllString(s, `$1 …"`)
	s = times.ReplaceAllString(s, "${1}1772445000000")
	return strings.NewReplacer(w.acct.HomeAccountID, "{home}", w.acct.LocalAccountID, "{oid}", w.acct.Realm, "{tid}", wire.ClientInfo(w.acct.HomeAccountID), "{clientInfo}").Replace(s)
}

// satisfied checks a reply against what the clients need, as it was measured
// with msalruntime and read in the others: not against what is written here.
func satisfied(t *testing.T, client, method, reply string) {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal([]byte(reply), &m))
	require.NotContains(t, m, "error", reply)
	account := func(v any) {
		a, ok := v.(map[string]any)
		require.True(t, ok, reply)
		for _, member := range []string{"environment", "homeAccountId", "localAccountId", "realm", "username", "name"} {
			require.NotEmpty(t, a[member], "%s drops an account without %s", client, member)
		}
		for _, member := range []string{"givenName", "familyName", "passwordExpiry", "clientInfo"} {
			require.Contains(t, a, member, "%s needs %s", client, member)
		}
	}
	switch method {
	case "getLinuxBrokerVersion":
		require.NotEmpty(t, m["linuxBrokerVersion"])
	case "getAccounts":
		list, ok := m["accounts"].([]any)
		require.True(t, ok)
		require.Len(t, list, 1)
		account(list[0])
	case "acquirePrtSsoCookie":
		items, ok := m["cookieItems"].([]any)
		require.True(t, ok, "linux-entra-sso and Teams for Linux look here first")
		first, ok := items[0].(map[string]any)
		require.True(t, ok)
		require.Equal(t, "x-ms-RefreshTokenCredential", first["cookieName"])
		require.Equal(t, first["cookieName"], m["cookieName"], "older clients look here")
		require.Equal(t, first["cookieContent"], m["cookieContent"])
		account(m["account"])
	case "acquireTokenSilently", "acquireTokenInteractively":
		token, ok := m["brokerTokenResponse"].(map[string]any)
		require.True(t, ok, reply)
		require.NotContains(t, token, "error", reply)
		for _, member := range []string{"accessToken", "accessTokenType", "clientInfo", "expiresOn", "extendedExpiresOn", "grantedScopes", "idToken"} {
			require.Contains(t, token, member, "msalruntime refuses a reply without %s", member)
		}
		id, err := claims.Parse(token["idToken"].(string))
		require.NoError(t, err, "no account is made without an id_token")
		require.NotEmpty(t, id.ObjectID)
		require.NotEmpty(t, id.TenantID)
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token["idToken"].(string), ".")[1])
		require.NoError(t, err)
		require.Contains(t, string(payload), `"preferred_username":"alice@contoso.example"`, "msalruntime makes no account of one without it")
		require.Greater(t, token["expiresOn"], float64(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()), "milliseconds")
		account(token["account"])
	case "generateSignedHttpRequest":
		require.NotEmpty(t, m["signedHttpRequest"])
	default:
		require.Empty(t, m)
	}
}

// Every requested scope is repeated as it was written, since MSAL compares
// literally.
func TestGrantedScopesAreLiteral(t *testing.T) {
	w := newWorld(t)
	for _, asked := range [][]string{
		{"User.Read"},
		{"https://graph.microsoft.com/User.Read", "openid", "profile"},
		{"https://graph.microsoft.com/.default"},
		{"HTTPS://graph.microsoft.com/User.Read"},
		{"https://management.azure.com//.default"},
		{"openid", "offline_access", "profile"},
	} {
		text, err := json.Marshal(map[string]any{"authParameters": map[string]any{"clientId": appID, "requestedScopes": asked, "username": alice}})
		require.NoError(t, err)
		r := w.ask(t, context.Background(), wire.AcquireSilently, string(text))
		require.Nil(t, r.Error, "%v: %+v", asked, r.Error)
		granted := strings.Fields(r.Token.GrantedScopes)
		for _, s := range asked {
			require.Contains(t, granted, s)
		}
	}
}

// ask calls a method as this process and reads the reply.
func (w *world) ask(t *testing.T, ctx context.Context, method, request string) *wire.Reply {
	t.Helper()
	text := w.h.Handle(ctx, self, method, wire.Protocol, correlation, request)
	r, err := wire.ParseReply(method, text)
	require.NoError(t, err, "%s", text)
	return r
}
