package broker_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
)

// What Canonical's authd needs of its provider for Entra ID (msentraid): it registers the
// machine with a refresh token of the broker client, and asks Graph for groups by a token
// that the PRT brings. The cases are those that its provider is tested by, and what its
// issues report; the replies have the members that its stand-in for the service sends.

const graphGroups = "https://graph.microsoft.com/v1.0/me/transitiveMemberOf/graph.group"

var groupRead = []string{"https://graph.microsoft.com/GroupMember.Read.All"}

// authd is a machine that authd looks after, with a user in two groups.
func authd(t *testing.T, changes ...change) *world {
	return newWorld(t, append([]change{withOptions(func(o *entratest.Options) {
		o.Groups = []entratest.Group{{Name: "linux-admins", Members: []string{"alice"}}, {Name: "Everybody", Members: []string{"linux-admins", "bob"}}}
	})}, changes...)...)
}

// groups asks Graph, as authd does after each sign-in.
func (w *world) groups(token string) (status int, names []string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, graphGroups, nil)
	require.NoError(w.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := w.srv.Client().Do(req)
	require.NoError(w.t, err)
	defer func() { _ = resp.Body.Close() }()
	var page struct {
		Value []struct{ ID, DisplayName string }
	}
	require.NoError(w.t, json.NewDecoder(resp.Body).Decode(&page))
	for _, g := range page.Value {
		require.NotEmpty(w.t, g.ID)
		names = append(names, g.DisplayName)
	}
	return resp.StatusCode, names
}

func TestAuthdRegistersWithARefreshToken(t *testing.T) {
	t.Parallel()
	w := authd(t)
	dev, err := w.b.RegisterDevice(t.Context(), broker.RegisterRequest{Credential: broker.RefreshToken{Token: w.brokerRefreshToken(t)}})
	require.NoError(t, err)
	require.False(t, dev.Existing)

	w.wire.take()
	again, err := w.open().RegisterDevice(t.Context(), broker.RegisterRequest{Credential: broker.RefreshToken{Token: "not needed"}})
	require.NoError(t, err)
	require.True(t, again.Existing, "registration data of before is used again")
	require.Equal(t, dev.ID, again.ID)
	require.Empty(t, w.wire.take(), "and nothing is sent for it")
	require.Len(t, w.srv.Devices(), 1)
}

func TestAuthdRegistrationFails(t *testing.T) {
	t.Parallel()
	request := func(w *world) error {
		_, err := w.b.RegisterDevice(t.Context(), broker.RegisterRequest{Credential: broker.RefreshToken{Token: w.brokerRefreshToken(t)}})
		return err
	}
	t.Run("the discovery service cannot be reached", func(t *testing.T) {
		w := authd(t)
		w.srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointDRSDiscovery, Kind: entratest.DropBefore, Times: -1})
		require.NoError(t, request(w), "the addresses are well known")
	})
	t.Run("the registration service cannot be reached", func(t *testing.T) {
		w := authd(t)
		w.srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointDevice, Kind: entratest.DropBefore, Times: -1})
		require.ErrorIs(t, request(w), broker.ErrTransient)
		require.Empty(t, w.srv.Devices())
		w.srv.ClearFaults()
		require.NoError(t, request(w), "another time it can")
		require.Len(t, w.srv.Devices(), 1)
	})
	t.Run("a tenant that is not a domain", func(t *testing.T) {
		w := authd(t)
		w.cfg.Tenant = "userwithoutdomain"
		_, err := broker.New(t.Context(), w.cfg)
		if err == nil {
			w.b = w.open()
			err = request(w)
		}
		require.ErrorIs(t, err, broker.ErrAppConfig)
		require.ErrorContains(t, err, "the tenant does not exist")
		require.Empty(t, w.srv.Devices())
	})
	t.Run("a refresh token of another client", func(t *testing.T) {
		w := authd(t)
		_, err := w.b.RegisterDevice(t.Context(), broker.RegisterRequest{Credential: broker.RefreshToken{Token: "0.Aof-another"}})
		require.ErrorIs(t, err, broker.ErrInteractionRequired)
		require.Empty(t, w.srv.Devices())
	})
}

// authd throws the PRT away and makes a new one for each token; a broker that keeps it
// asks for the token alone.
func TestAuthdGroupsByThePRT(t *testing.T) {
	t.Parallel()
	w := authd(t)
	rt := w.brokerRefreshToken(t)
	_, err := w.b.RegisterDevice(t.Context(), broker.RegisterRequest{Credential: broker.RefreshToken{Token: rt}})
	require.NoError(t, err)
	res, err := w.b.SignIn(t.Context(), broker.RefreshToken{Token: rt})
	require.NoError(t, err)
	require.Equal(t, alice, res.Account.PreferredUsername)

	status, names := w.groups(w.silent(groupRead, broker.WithAccount(res.Account)).AccessToken)
	require.Equal(t, http.StatusOK, status)
	require.ElementsMatch(t, []string{"linux-admins", "Everybody"}, names)

	status, _ = w.groups(w.silent(open).AccessToken)
	require.Equal(t, http.StatusUnauthorized, status, "a token for something else")

	prts := w.wire.take()
	w.silent(groupRead)
	w.clock.Advance(2 * time.Hour)
	w.silent(groupRead)
	for _, path := range w.wire.take() {
		require.Contains(t, []string{"nonce", "token"}, path, "after %v", prts)
	}
}

// reshaped answers requests for a PRT with the members of authd's stand-in alone.
type reshaped struct {
	broker.Transport
	idToken, clientInfo func(member map[string]string) any
}

func (r reshaped) Do(req *http.Request) (*http.Response, error) {
	resp, err := r.Transport.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.HasSuffix(req.URL.Path, "/oauth2/token") {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	var in map[string]any
	if json.Unmarshal(body, &in) == nil && in["session_key_jwe"] != nil {
		claims := map[string]string{}
		_, payload, _ := strings.Cut(in["id_token"].(string), ".")
		payload, _, _ = strings.Cut(payload, ".")
		var all map[string]any
		raw, err := base64.RawURLEncoding.DecodeString(payload)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(raw, &all); err != nil {
			return nil, err
		}
		for _, name := range []string{"name", "oid", "tid"} {
			claims[name], _ = all[name].(string)
		}
		body, err = json.Marshal(map[string]any{
			"token_type": "Bearer", "expires_in": "3600", "ext_expires_in": "3600", "expires_on": "9999999999",
			"refresh_token": in["refresh_token"], "refresh_token_expires_in": 7200, "session_key_jwe": in["session_key_jwe"],
			"id_token": r.idToken(claims), "client_info": r.clientInfo(map[string]string{"uid": claims["oid"], "utid": claims["tid"]}),
		})
		if err != nil {
			return nil, err
		}
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.Header.Del("Content-Length")
	return resp, nil
}

func encoded(member map[string]string) string {
	raw, _ := json.Marshal(member)
	return base64.RawURLEncoding.EncodeToString(raw)
}

// authd's stand-in sends id_token and client_info as JSON objects, where the service
// sends an unsigned JWT and base64url. A PRT comes with both forms: the first cannot say
// whose it is, and then the broker has to say so.
func TestAuthdReplyOfAPRT(t *testing.T) {
	t.Parallel()
	asText := func(m map[string]string) any {
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + encoded(m) + "."
	}
	t.Run("as the service sends them", func(t *testing.T) {
		w := authd(t)
		w.join()
		w.wire.inner = reshaped{w.wire.inner, asText, func(m map[string]string) any { return encoded(m) }}
		res, err := w.b.SignIn(t.Context(), broker.Password{Username: alice, Password: password})
		require.NoError(t, err)
		u := w.srv.Users()[0]
		require.Equal(t, u.ID, res.Account.LocalAccountID)
		require.Equal(t, w.srv.TenantID(), res.Account.Realm)
		require.Equal(t, u.ID+"."+w.srv.TenantID(), res.Account.HomeAccountID)
		require.Equal(t, "Alice Example", res.Account.Name)
		require.WithinDuration(t, w.clock.Now().Add(2*time.Hour), res.ExpiresOn, time.Minute, "refresh_token_expires_in, not expires_on")
		status, names := w.groups(w.silent(groupRead).AccessToken)
		require.Equal(t, http.StatusOK, status)
		require.Len(t, names, 2)
	})
	t.Run("as objects", func(t *testing.T) {
		w := authd(t)
		w.join()
		object := func(m map[string]string) any { return m }
		w.wire.inner = reshaped{w.wire.inner, object, object}
		_, err := w.b.SignIn(t.Context(), broker.Password{Username: alice, Password: password})
		require.ErrorContains(t, err, "id_token")
		require.NotContains(t, err.Error(), password)
		accounts, err := w.b.Accounts(t.Context())
		require.NoError(t, err)
		require.Empty(t, accounts, "nothing is kept of it")
	})
}

// An app registration that is wrong costs no registration of the machine, whatever the
// code: authd deleted the device after 7000218 (its issues 1791 and 1825).
func TestAuthdAppConfiguration(t *testing.T) {
	t.Parallel()
	for _, code := range []int{500113, 50011, 7000218, 700016} {
		w := authd(t)
		w.join()
		acct := w.signIn()
		w.srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.AADSTS, Code: code, Error: "invalid_client", Times: -1})
		_, err := w.b.AcquireTokenSilent(t.Context(), groupRead)
		require.ErrorIs(t, err, broker.ErrAppConfig, "AADSTS%d", code)
		require.NotErrorIs(t, err, broker.ErrDeviceAuth)
		require.NotErrorIs(t, err, broker.ErrInteractionRequired)
		w.srv.ClearFaults()
		require.NotEmpty(t, w.silent(groupRead, broker.WithAccount(acct)).AccessToken, "device and PRT live on")
		require.Len(t, w.srv.Devices(), 1)
	}
}

// Which refusals end a sign-in, and which say something else: the table of authd's
// IsTokenExpiredError, and its errors for devices and users.
func TestAuthdRefusals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		code  int
		oauth string
		is    error
		not   []error
	}{
		{50173, "invalid_grant", broker.ErrInteractionRequired, []error{broker.ErrUserDisabled, broker.ErrBlocked}},
		{70043, "invalid_grant", broker.ErrInteractionRequired, []error{broker.ErrUserDisabled}},
		{700082, "invalid_grant", broker.ErrPRTExpired, []error{broker.ErrUserDisabled}},
		{50057, "invalid_grant", broker.ErrUserDisabled, []error{broker.ErrPRTExpired, broker.ErrDeviceAuth}},
		{65001, "invalid_grant", broker.ErrInteractionRequired, []error{broker.ErrPRTExpired, broker.ErrPRTRevoked}},
		{135011, "invalid_grant", broker.ErrDeviceDisabled, []error{broker.ErrUserDisabled}},
	} {
		w := authd(t)
		w.join()
		w.signIn()
		w.srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.AADSTS, Code: tt.code, Error: tt.oauth, Times: -1})
		_, err := w.b.AcquireTokenSilent(t.Context(), groupRead)
		require.ErrorIs(t, err, tt.is, "AADSTS%d", tt.code)
		for _, not := range tt.not {
			require.NotErrorIs(t, err, not, "AADSTS%d", tt.code)
		}
		var e *broker.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, tt.code, e.Code, "the number is always there")
	}
}

// A device that joined a moment ago is not known everywhere yet (authd's issues 1721 and
// 1781): the broker asks again, and neither gives up nor registers another.
func TestAuthdRetries(t *testing.T) {
	t.Parallel()
	t.Run("a young device", func(t *testing.T) {
		w := authd(t, withOptions(func(o *entratest.Options) { o.ReplicationLag, o.ReplicationTries = time.Minute, 2 }))
		w.join()
		w.signIn()
		require.Len(t, w.srv.Devices(), 1)
	})
	for name, f := range map[string]entratest.Fault{
		"a busy service": {Endpoint: entratest.EndpointToken, Kind: entratest.Throttle, RetryAfter: time.Second},
		"a bad gateway":  {Endpoint: entratest.EndpointToken, Kind: entratest.Status, Status: http.StatusBadGateway},
		"no nonce":       {Endpoint: entratest.EndpointNonce, Kind: entratest.DropBefore},
	} {
		t.Run(name, func(t *testing.T) {
			w := authd(t)
			w.join()
			w.signIn()
			w.srv.AddFault(f)
			require.NotEmpty(t, w.silent(groupRead).AccessToken)
		})
	}
	t.Run("a reply that is lost", func(t *testing.T) {
		w := authd(t)
		w.join()
		w.signIn()
		w.srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.DropAfter})
		_, err := w.b.AcquireTokenSilent(t.Context(), groupRead)
		require.ErrorIs(t, err, broker.ErrTransient, "nobody is asked because of it")
		require.NotEmpty(t, w.silent(groupRead).AccessToken)
	})
	t.Run("a password is not sent twice", func(t *testing.T) {
		w := authd(t)
		w.join()
		w.srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.DropAfter, Match: func(r *http.Request) bool {
			return r.PostForm.Get("request") != ""
		}})
		sent := 0
		w.wire.set(func(r *http.Request) error {
			if r.GetBody == nil {
				return nil
			}
			body, err := r.GetBody()
			if err != nil {
				return err
			}
			raw, err := io.ReadAll(body)
			if err != nil {
				return err
			}
			if form, err := url.ParseQuery(string(raw)); err == nil && form.Get("request") != "" {
				sent++
			}
			return nil
		}, nil)
		_, err := w.b.SignIn(t.Context(), broker.Password{Username: alice, Password: password})
		require.ErrorIs(t, err, broker.ErrTransient)
		require.Equal(t, 1, sent)
	})
}
