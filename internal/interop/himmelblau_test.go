package interop

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// himmelblau is the program of testdata/himmelblau: libhimmelblau with a device, a
// soft TPM and a PRT of its own.
type himmelblau struct{ *lineClient }

func newHimmelblau(t *testing.T, e *emulator) *himmelblau {
	t.Helper()
	return &himmelblau{startLineClient(t, e, filepath.Join(cacheDir, "cargo", "debug", "himmelblau-flows"),
		"https://login.microsoftonline.com/"+e.TenantID(), appID)}
}

// enrolled is a device of alice's, joined with her password.
func (h *himmelblau) enrolled(t *testing.T, kind string) (id string) {
	t.Helper()
	h.must(t, "enrol-ropc", alice, alicePwd)
	return h.must(t, "enrol", "contoso.example", kind, "pc-himmelblau")
}

// himmelblauTenant has one user for each way to sign in.
func himmelblauTenant(t *testing.T) *emulator {
	return newEmulator(t, entratest.Options{
		Users: []entratest.User{
			{Username: "alice", Name: "Alice Example", Password: alicePwd, TOTPSecret: aliceOTP},
			{Username: "bob", Name: "Bob Example", Password: bobPwd},
			{Username: "carol", Name: "Carol Example", Password: "paper clip", NumberMatch: true},
			{Username: "pia", Password: "paper clip", Phone: "+41 79 123 45 67"},
			{Username: "paul", NumberMatch: true, PhoneSignIn: true, Password: "paper clip"},
			{Username: dave, Password: davePwd, TOTPSecret: aliceOTP},
		},
		Federated: []string{"corp.contoso.example"}, FederatedMFA: "rejectMfaByFederatedIdp",
		Groups: []entratest.Group{{Name: "Staff", Members: []string{"alice"}}},
		Apps: []entratest.App{
			{ClientID: appID, Name: "Desktop app", Public: true, AdminConsent: true, Redirects: []string{loopback, native}},
			{ClientID: payrollID, Name: "Payroll", URIs: []string{"api://payroll"}, PreauthorisedClients: map[string][]string{portalLinux: {"*"}}},
			{ClientID: secretsID, Name: "Secrets", URIs: []string{"api://secrets"}, PreauthorisedClients: map[string][]string{portalLinux: {"*"}}},
		},
		Policies: []byte(`{"value":[` + policyFor("p1", "Payroll needs MFA", payrollID, "mfa") + `,` + policyFor("p2", "Secrets are blocked", secretsID, "block") + `]}`),
	})
}

const (
	portalLinux = "b743a22d-6705-4147-8670-d92fa515ee2b" // whose name libhimmelblau asks in
	payrollID   = "7a11e51e-0002-4000-8000-000000000002"
	secretsID   = "7a11e51e-0003-4000-8000-000000000003"
)

func policyFor(id, name, app, control string) string {
	return fmt.Sprintf(`{"id":%q,"displayName":%q,"state":"enabled","conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":[%q]},"clientAppTypes":["all"]},"grantControls":{"operator":"OR","builtInControls":[%q]}}`, id, name, app, control)
}

func (h *himmelblau) code(t *testing.T) string {
	t.Helper()
	code, _, err := h.OneTimeCode("alice")
	require.NoError(t, err)
	return code
}

func TestHimmelblauPublicClient(t *testing.T) {
	t.Parallel()
	heavy(t, himmelblauClient)
	e := himmelblauTenant(t)
	h := newHimmelblau(t, e)
	row := func(name string, run func(t *testing.T) string) { flow(t, himmelblauClient, name, run) }

	row("password (ROPC)", func(t *testing.T) string { return h.must(t, "ropc", alice, alicePwd, userRead) })
	row("refresh token", func(t *testing.T) string { return h.must(t, "refresh", userRead) })
	row("wrong password (ROPC)", func(t *testing.T) string {
		return h.refused(t, "AADSTS50126", "ropc", alice, "wrong", userRead)
	})
	row("password (ROPC), MFA wanted", func(t *testing.T) string {
		return h.refused(t, "AADSTS50076", "ropc", alice, alicePwd, payroll)
	})
	row("password (ROPC), MFA wanted of a user without a method", func(t *testing.T) string {
		return h.refused(t, "AADSTS50079", "ropc", bob, bobPwd, payroll)
	})
	row("blocked by policy (ROPC)", func(t *testing.T) string {
		return h.refused(t, "AADSTS53003", "ropc", alice, alicePwd, secrets)
	})
	row("authorization code with PKCE", func(t *testing.T) string {
		start := h.must(t, "code-url", userRead, loopback)
		got, err := person().Authorize(t.Context(), h.Client(), start, loopback)
		require.NoError(t, err)
		return h.must(t, "code", got)
	})
	row("device code", func(t *testing.T) string {
		require.NoError(t, person().ApproveDeviceCode(t.Context(), h.Client(), h.must(t, "device", userRead)))
		return h.must(t, "device-poll")
	})
	row("does the user exist", func(t *testing.T) string {
		require.Equal(t, "unknown", h.must(t, "exists", "nobody@contoso.example"))
		return h.must(t, "exists", alice)
	})
	row("does the user exist, phone sign-in", func(t *testing.T) string {
		return h.must(t, "exists", "paul@contoso.example", "passwordless")
	})
	row("sign-in pages, code of an app", func(t *testing.T) string {
		require.Equal(t, "PhoneAppOTP", h.must(t, "mfa", alice, alicePwd, payroll))
		return h.must(t, "answer", alice, h.code(t))
	})
	row("sign-in pages, wrong code", func(t *testing.T) string {
		e.clock.Advance(minute)
		h.must(t, "mfa", alice, alicePwd, payroll)
		return h.refused(t, "", "answer", alice, "000000")
	})
	row("sign-in pages, number match", func(t *testing.T) string {
		const carol = "carol@contoso.example"
		began := h.must(t, "mfa", carol, "paper clip", payroll)
		number := regexp.MustCompile(`(\d\d)$`).FindStringSubmatch(began)
		require.NotNil(t, number, began)
		saw, ok := h.run(t, "poll", "1", carol)
		require.False(t, ok)
		require.Equal(t, "poll again", saw)
		require.True(t, h.AnswerNumberMatch("carol", atoi(t, number[1])))
		return h.must(t, "poll", "2", carol)
	})
	row("sign-in pages, number declined", func(t *testing.T) string {
		const carol = "carol@contoso.example"
		h.must(t, "mfa", carol, "paper clip", payroll)
		require.True(t, h.AnswerNumberMatch("carol", 1))
		return h.refused(t, "denied", "poll", "1", carol)
	})
	row("sign-in pages, text message", func(t *testing.T) string {
		const pia = "pia@contoso.example"
		require.Equal(t, "OneWaySMS", h.must(t, "mfa", pia, "paper clip", payroll))
		code, ok := h.SMSCode("pia")
		require.True(t, ok)
		return h.must(t, "answer", pia, code)
	})
	row("sign-in pages, wrong password", func(t *testing.T) string {
		return h.refused(t, "AADSTS50126", "mfa", alice, "wrong", payroll)
	})
	row("sign-in pages, blocked by policy", func(t *testing.T) string {
		h.must(t, "mfa", alice, alicePwd, secrets)
		h.clock.Advance(minute)
		return h.refused(t, "AADSTS53003", "answer", alice, h.code(t))
	})
	row("sign-in pages, a user without a method", func(t *testing.T) string {
		require.Contains(t, h.must(t, "mfa", bob, bobPwd, userRead), "device code")
		return "falls back to a device code"
	})
	row("sign-in pages, phone in place of a password", func(t *testing.T) string {
		const paul = "paul@contoso.example"
		number := regexp.MustCompile(`(\d\d)$`).FindStringSubmatch(h.must(t, "mfa", paul, "", payroll, "", "passwordless"))
		require.NotNil(t, number)
		require.True(t, h.AnswerNumberMatch("paul", atoi(t, number[1])))
		return h.must(t, "poll", "1", paul)
	})
	row("sign-in pages, federated user", func(t *testing.T) string {
		require.Equal(t, "PhoneAppOTP", h.must(t, "mfa", dave, davePwd, userRead))
		code, _, err := h.OneTimeCode(dave)
		require.NoError(t, err)
		return h.must(t, "answer", dave, code)
	})
	row("sign-in pages, federated user, wrong password", func(t *testing.T) string {
		require.Contains(t, h.must(t, "mfa", dave, "wrong", userRead), "device code")
		return "falls back to a device code"
	})
	row("expired password", func(t *testing.T) string {
		require.NoError(t, h.ExpirePassword("pia"))
		h.refused(t, "the password is to be changed", "mfa", "pia@contoso.example", "paper clip", userRead)
		h.must(t, "change-password", "pia@contoso.example", "paper clip", "new rubber band")
		return h.must(t, "ropc", "pia@contoso.example", "new rubber band", userRead)
	})
}

func TestHimmelblauDevice(t *testing.T) {
	t.Parallel()
	heavy(t, himmelblauClient)
	e := himmelblauTenant(t)
	row := func(name string, run func(t *testing.T) string) { flow(t, himmelblauClient, name, run) }

	row("enrol, joined (type 0)", func(t *testing.T) string { newHimmelblau(t, e).enrolled(t, "0"); return "certificate" })
	row("enrol, registered (type 4)", func(t *testing.T) string { newHimmelblau(t, e).enrolled(t, "4"); return "certificate" })
	row("enrol by device code", func(t *testing.T) string {
		h := newHimmelblau(t, e)
		require.NoError(t, person().ApproveDeviceCode(t.Context(), h.Client(), h.must(t, "enrol-device")))
		h.must(t, "device-poll")
		h.must(t, "enrol", "contoso.example", "0", "pc-device-code")
		return "certificate"
	})
	row("enrol, wrong password", func(t *testing.T) string {
		return newHimmelblau(t, e).refused(t, "AADSTS50126", "enrol-ropc", alice, "wrong")
	})

	h := newHimmelblau(t, e)
	var id string
	row("enrol with MFA, PRT by refresh token", func(t *testing.T) string {
		require.Equal(t, "PhoneAppOTP", h.must(t, "enrol-mfa", alice, alicePwd))
		require.Contains(t, h.must(t, "answer", alice, h.code(t)), "with MFA")
		id = h.must(t, "enrol", "contoso.example", "0", "pc-mfa")
		h.must(t, "prt-refresh")
		return "certificate, PRT"
	})
	row("Hello key", func(t *testing.T) string { return h.must(t, "hello", "135790") })
	row("exchange for an app that wants MFA", func(t *testing.T) string { return h.must(t, "exchange", payroll) })
	row("PRT by the Hello key", func(t *testing.T) string {
		h.must(t, "prt-hello", alice, "135790")
		require.Contains(t, h.must(t, "exchange", payroll), "with MFA")
		return "PRT with the MFA claim"
	})
	row("token by the Hello key", func(t *testing.T) string { return h.must(t, "by-hello", alice, "135790", userRead) })
	row("PRT by password", func(t *testing.T) string { h.must(t, "prt-password", alice, alicePwd); return "PRT" })
	row("PRT by password, wrong password", func(t *testing.T) string {
		return h.refused(t, "AADSTS50126", "prt-password", alice, "wrong")
	})
	row("exchange for a scope (v2.0)", func(t *testing.T) string { return h.must(t, "exchange", userRead) })
	row("exchange for a resource (v1.0)", func(t *testing.T) string {
		return h.must(t, "exchange", "", "https://graph.microsoft.com")
	})
	row("exchange, MFA wanted", func(t *testing.T) string { return h.refused(t, "MFA", "exchange", payroll) })
	row("exchange, blocked by policy", func(t *testing.T) string { return h.refused(t, "AADSTS53003", "exchange", secrets) })
	row("renewal", func(t *testing.T) string { h.must(t, "renew"); return h.must(t, "exchange", userRead) })
	row("renewal with tickets asked for", func(t *testing.T) string { h.must(t, "renew", "tgt"); return "PRT, no ticket" })
	row("tokens and PRT in one (password)", func(t *testing.T) string { return h.must(t, "password", alice, alicePwd, userRead) })
	row("tokens and PRT in one (refresh token)", func(t *testing.T) string {
		h.must(t, "enrol-ropc", alice, alicePwd)
		return h.must(t, "by-refresh", userRead)
	})
	row("single sign-on cookie", func(t *testing.T) string {
		c := *h.Client()
		c.Transport = withCookie{h.must(t, "cookie", nonce(t, h.emulator)), c.Transport}
		start := "https://login.microsoftonline.com/" + h.TenantID() + "/oauth2/v2.0/authorize?" + url.Values{"client_id": {appID},
			"response_type": {"code"}, "redirect_uri": {loopback}, "scope": {userRead}}.Encode()
		got, err := entratest.Person{}.Authorize(t.Context(), &c, start, loopback)
		require.NoError(t, err)
		require.Contains(t, got, "code=")
		return "signed in without a page"
	})
	row("certificate of the device for peers (P2P)", func(t *testing.T) string {
		h.must(t, "p2p-device", h.TenantID(), "pc-mfa")
		return "certificate"
	})
	row("certificate of the user for peers (P2P)", func(t *testing.T) string { h.must(t, "p2p-user"); return "certificate" })
	row("SSH certificate", func(t *testing.T) string {
		dir := t.TempDir()
		out, err := exec.Command("ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-C", "pc-mfa", "-f", filepath.Join(dir, "id_rsa")).CombinedOutput()
		require.NoError(t, err, "%s", out)
		public, err := os.ReadFile(filepath.Join(dir, "id_rsa.pub"))
		require.NoError(t, err)
		who, cert, _ := strings.Cut(h.must(t, "ssh", strings.TrimSpace(string(public))), "\t")
		require.Equal(t, alice, who)
		file := filepath.Join(dir, "id_rsa-cert.pub")
		require.NoError(t, os.WriteFile(file, []byte(cert+"\n"), 0o600))
		out, err = exec.Command("ssh-keygen", "-L", "-f", file).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), alice)
		return "certificate, which ssh-keygen reads"
	})
	row("federation provider (odc.officeapps.live.com)", func(t *testing.T) string {
		require.Equal(t, "login.microsoftonline.com "+h.TenantID()+" https://graph.microsoft.com", h.must(t, "provider", "contoso.example"))
		return "login.microsoftonline.com, the tenant, graph.microsoft.com"
	})
	row("Graph: the user", func(t *testing.T) string {
		h.must(t, "exchange", "", "https://graph.microsoft.com")
		require.Equal(t, alice, h.must(t, "graph", "user", "contoso.example", alice))
		return "found"
	})
	row("Graph: groups of the user", func(t *testing.T) string { return h.must(t, "graph", "groups", "contoso.example") })
	row("Graph: photo", func(t *testing.T) string { return h.refused(t, "404", "graph", "photo", "contoso.example") })
	row("Graph: endpoints of Intune", func(t *testing.T) string {
		return h.refused(t, "404", "graph", "endpoints", "contoso.example")
	})
	row("disabled device", func(t *testing.T) string {
		require.NoError(t, h.DisableDevice(id))
		h.refused(t, "AADSTS135011", "prt-password", alice, alicePwd)
		h.refused(t, "AADSTS135011", "renew")
		saw := h.refused(t, "AADSTS135011", "exchange", userRead)
		require.NoError(t, h.EnableDevice(id))
		h.must(t, "exchange", userRead)
		return saw + "; token again once enabled"
	})
	row("deleted device", func(t *testing.T) string {
		require.NoError(t, h.DeleteDevice(id))
		return h.refused(t, "AADSTS50155", "renew")
	})
}

// nonce asks the emulator for one, as a browser gets it from the sign-in page.
func nonce(t *testing.T, e *emulator) string {
	t.Helper()
	resp, err := e.Client().PostForm("https://login.microsoftonline.com/common/oauth2/token", url.Values{"grant_type": {"srv_challenge"}})
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	var out struct{ Nonce string }
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&out))
	return out.Nonce
}
