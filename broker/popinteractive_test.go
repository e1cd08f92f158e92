package broker_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/claims"
)

// Consent is the app's own page, which gives the token bound to the key at once.
func TestPoPAfterConsent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory, withOptions(func(o *entratestOptions) { o.Apps[0].AdminConsent = false }))
	w.join()
	w.signIn()
	bound := broker.WithPoP(broker.PoP{Method: "GET", URL: "https://graph.microsoft.com/v1.0/me"})
	_, err := w.b.AcquireTokenSilent(t.Context(), []string{"User.Read"}, bound)
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	before := w.person.prompts()
	res, err := w.b.AcquireTokenInteractive(t.Context(), []string{"User.Read"}, bound)
	require.NoError(t, err)
	require.Equal(t, before+1, w.person.prompts())
	require.Equal(t, "PoP", res.TokenType)
	require.Equal(t, broker.SourceInteractive, res.Metadata.Source)
	r, _ := verifySHR(t, res.AccessToken)
	require.Equal(t, "/v1.0/me", r.Path)
}

// A bearer token from that page is not served in place of a bound one.
func TestBearerAfterConsent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory, withOptions(func(o *entratestOptions) { o.Apps[0].AdminConsent = false }))
	w.join()
	w.signIn()
	w.bearerOnly()
	_, err := w.b.AcquireTokenInteractive(t.Context(), []string{"User.Read"}, broker.WithPoP(broker.PoP{Method: "GET", URL: "https://graph.microsoft.com/v1.0/me"}))
	require.ErrorContains(t, err, "not bound to the key")
}

// On a machine without a registration, a sign-in that the call had to make gives the
// token bound to the key, by page and by device code: MSAL sends token_type=pop and
// req_cnf when it redeems a code.
func TestUnboundPoPInteractive(t *testing.T) {
	t.Parallel()
	const kid = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" // RFC 7638, 3.1
	for _, away := range []bool{false, true} {
		t.Run(map[bool]string{false: "page", true: "device code"}[away], func(t *testing.T) {
			t.Parallel()
			w := unboundWorld(t)
			w.person.none.Store(away)
			device := broker.WithPoP(broker.PoP{Method: "GET", URL: "https://files.example/things"})
			res, err := w.b.AcquireTokenInteractive(t.Context(), open, broker.WithLoginHint(alice), device)
			require.NoError(t, err)
			require.Equal(t, 1, w.person.prompts())
			require.Equal(t, "PoP", res.TokenType)
			r, _ := verifySHR(t, res.AccessToken)
			require.Equal(t, "/things", r.Path)
			again, _ := verifySHR(t, w.silent(open, device).AccessToken)
			require.Equal(t, r.At, again.At, "from memory")

			own := broker.WithPoP(broker.PoP{KeyID: kid})
			res, err = w.b.AcquireTokenInteractive(t.Context(), open, own, broker.WithNewSignIn())
			require.NoError(t, err)
			require.Equal(t, 2, w.person.prompts())
			require.Equal(t, "PoP", res.TokenType)
			tok, err := claims.Parse(res.AccessToken)
			require.NoError(t, err)
			require.Equal(t, kid, tok.ConfirmationKeyID)
			require.Equal(t, res.AccessToken, w.silent(open, own).AccessToken)
		})
	}
}
