package chromium_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

const (
	totpSecret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	appID      = "11111111-aaaa-4bbb-8ccc-000000000001"
	payrollID  = "11111111-aaaa-4bbb-8ccc-000000000002"
	needsMFA   = `{"value":[{"id":"99999999-0000-4000-8000-000000000001","displayName":"Payroll requires MFA","state":"enabled",
 "conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["` + payrollID + `"]},"clientAppTypes":["all"]},
 "grantControls":{"operator":"OR","builtInControls":["mfa"]}}]}`
)

// typist fills in the pages as alice does: name, password, code.
const typist = `addEventListener("DOMContentLoaded", () => {
	const values = {login: "alice@contoso.example", loginfmt: "alice@contoso.example", passwd: "correct horse", otc: "CODE"};
	for (const form of document.forms) {
		const fields = [...form.elements].filter(e => e.type !== "hidden" && values[e.name] !== undefined);
		if (!fields.length) continue;
		for (const f of fields) f.value = values[f.name];
		form.querySelector("button.primary").click();
		return;
	}
})`

// The emulator's pages in a real browser: enrolment and the step-up take one
// window each, and a window that the device's cookie signs in asks nothing.
func TestSignInPages(t *testing.T) {
	srv := entratest.NewTB(t, entratest.Options{
		Clock:          entratest.NewRunningClock(time.Now()),
		Users:          []entratest.User{{Username: "alice", Password: "correct horse", TOTPSecret: totpSecret}},
		Apps:           []entratest.App{{ClientID: appID, Public: true, AdminConsent: true, Redirects: []string{"https://login.microsoftonline.com/common/oauth2/nativeclient"}}, {ClientID: payrollID, URIs: []string{"api://payroll"}}},
		Policies:       []byte(needsMFA),
		ReplicationLag: -1,
	})
	code, err := entratest.TOTP(totpSecret, srv.Now())
	require.NoError(t, err)
	window := newPrompter(t, srv.Addr()).WithScript(strings.ReplaceAll(typist, "CODE", code))
	keys, err := softkeys.Open(softkeys.Secret(make([]byte, 32)))
	require.NoError(t, err)
	b, err := broker.New(t.Context(), broker.Config{
		Tenant: srv.Domain(), App: broker.App{ClientID: appID}, Keys: keys, Transport: srv.Client(), Prompter: window,
	})
	require.NoError(t, err)
	defer b.Close()
	_, err = b.Enroll(t.Context(), broker.AuthCode{}, broker.EnrollRequest{})
	require.NoError(t, err)
	scope := []string{"api://payroll/.default"}
	_, err = b.AcquireTokenSilent(t.Context(), scope)
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	_, err = b.AcquireTokenInteractive(t.Context(), scope)
	require.NoError(t, err)
	_, err = b.AcquireTokenSilent(t.Context(), scope)
	require.NoError(t, err)

	// No script types now: the device's cookie is all that signs in.
	silent := newPrompter(t, srv.Addr())
	silent.Cookies = func(ctx context.Context, page string) ([]*http.Cookie, error) { return b.SSOCookies(ctx, page) }
	page := "https://login.microsoftonline.com/" + srv.TenantID() + "/oauth2/v2.0/authorize?response_type=code&client_id=" + appID +
		"&redirect_uri=https%3A%2F%2Flogin.microsoftonline.com%2Fcommon%2Foauth2%2Fnativeclient&scope=openid&state=s&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256"
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got, err := silent.Authorize(ctx, page, "https://login.microsoftonline.com/common/oauth2/nativeclient")
	require.NoError(t, err)
	require.Contains(t, got, "code=")
}
