package broker_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
)

// atHome is what the service says of every user here: a guest, who is somebody
// else in the tenant that they come from.
type atHome struct {
	inner    broker.Transport
	uid, tid string
}

func (h *atHome) id() string { return h.uid + "." + h.tid }

// Do changes client_info in the replies that are in the clear. The encrypted ones
// are for a PRT that is known already.
func (h *atHome) Do(r *http.Request) (*http.Response, error) {
	return edited(h.inner, r, func(members map[string]any) {
		if members["client_info"] != nil {
			members["client_info"] = base64.RawURLEncoding.EncodeToString([]byte(`{"uid":"` + h.uid + `","utid":"` + h.tid + `"}`))
		}
	})
}

// edited sends a request and changes the members of the reply, if it is JSON.
func edited(t broker.Transport, r *http.Request, change func(map[string]any)) (*http.Response, error) {
	rep, err := t.Do(r)
	if err != nil {
		return nil, err
	}
	defer rep.Body.Close()
	body, err := io.ReadAll(rep.Body)
	if err != nil {
		return nil, err
	}
	var members map[string]any
	if json.Unmarshal(body, &members) == nil {
		change(members)
		if body, err = json.Marshal(members); err != nil {
			return nil, err
		}
		rep.ContentLength = int64(len(body))
		rep.Header.Del("Content-Length")
	}
	rep.Body = io.NopCloser(bytes.NewReader(body))
	return rep, nil
}

// guestWorld is a machine where alice is a guest.
func guestWorld(t *testing.T, changes ...change) (*world, *atHome) {
	t.Helper()
	w := newWorld(t, changes...)
	home := &atHome{w.wire.inner, "11111111-2222-4333-8444-555555555555", "99999999-8888-4777-8666-555555555555"}
	w.wire.inner = home
	return w, home
}

// The account that a sign-in gives is named by client_info, by whatever grant, and
// is the same one each time: a guest has another id at home than here.
func TestHomeAccountIDByEveryGrant(t *testing.T) {
	t.Parallel()
	byPRT := map[string]func(w *world) broker.Credential{
		"password":      func(*world) broker.Credential { return broker.Password{Username: alice, Password: password} },
		"page":          func(*world) broker.Credential { return broker.AuthCode{LoginHint: alice, MFA: true} },
		"device code":   func(*world) broker.Credential { return broker.DeviceCodeFlow{} },
		"refresh token": func(w *world) broker.Credential { return broker.RefreshToken{Token: w.brokerRefreshToken(t)} },
	}
	for name, cred := range byPRT {
		t.Run("PRT by "+name, func(t *testing.T) {
			t.Parallel()
			w, home := guestWorld(t)
			w.join()
			res, err := w.b.SignIn(t.Context(), cred(w))
			require.NoError(t, err)
			checkGuest(t, w, home, res)
			require.Equal(t, broker.SourcePRT, w.silent(open).Metadata.Source)
			require.NoError(t, w.b.RenewPRT(t.Context(), res.Account))
			_, err = w.b.AcquireTokenInteractive(t.Context(), payroll, broker.WithAccount(res.Account))
			require.NoError(t, err, "a step-up is the same user's")
			checkGuest(t, w, home, res)
		})
		t.Run("app by "+name, func(t *testing.T) {
			t.Parallel()
			if name == "refresh token" {
				return // it is the broker client's
			}
			w, home := guestWorld(t)
			w.cfg.AllowUnbound = true
			w.b = w.open()
			res, err := w.b.SignIn(t.Context(), cred(w))
			require.NoError(t, err)
			checkGuest(t, w, home, res)
			w.silent(open)
		})
	}
	t.Run("Enroll, and a Hello key", func(t *testing.T) {
		t.Parallel()
		w, home := guestWorld(t)
		softwareHello(w)
		res, err := w.b.Enroll(t.Context(), broker.AuthCode{LoginHint: alice, MFA: true}, broker.EnrollRequest{})
		require.NoError(t, err)
		checkGuest(t, w, home, res)
		require.NoError(t, w.b.ProvisionHello(t.Context(), res.Account, rightPIN))
		res, err = w.b.SignIn(t.Context(), broker.HelloPIN{PIN: rightPIN})
		require.NoError(t, err)
		checkGuest(t, w, home, res)
		_, err = w.b.Unlock(t.Context(), res.Account, rightPIN)
		require.NoError(t, err)
		require.NoError(t, w.b.RemoveHello(t.Context(), res.Account))
	})
	t.Run("page of the app, for consent", func(t *testing.T) {
		t.Parallel()
		w, home := guestWorld(t, withOptions(func(o *entratestOptions) { o.Apps[0].AdminConsent = false }))
		w.join()
		acct := w.signIn()
		_, err := w.b.AcquireTokenSilent(t.Context(), []string{"User.Read"})
		require.ErrorIs(t, err, broker.ErrInteractionRequired)
		res, err := w.b.AcquireTokenInteractive(t.Context(), []string{"User.Read"}, broker.WithAccount(acct))
		require.NoError(t, err)
		checkGuest(t, w, home, res)
	})
}

// checkGuest looks at the result of a sign-in and at who is signed in.
func checkGuest(t *testing.T, w *world, home *atHome, res broker.AuthResult) {
	t.Helper()
	require.Equal(t, home.id(), res.Account.HomeAccountID)
	require.Equal(t, w.srv.TenantID(), res.Account.Realm)
	require.Equal(t, w.srv.Users()[0].ID, res.Account.LocalAccountID)
	require.Equal(t, alice, res.Account.PreferredUsername)
	all, err := w.b.Accounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, []broker.Account{res.Account}, all)
}
