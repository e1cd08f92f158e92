package login_test

import (
	"encoding/base32"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/login"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/totp"
)

// Who did MFA by telephone is asked to register an app, and may put it off; the
// registration takes a code of the secret on the page alone.
func TestRegistration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Traits = login.Traits{RegistrationDays: 14, RegistrationCampaign: true}
	page := w.typed("bob")
	require.Equal(t, "ConvergedProofUpRedirect", page.page())
	require.EqualValues(t, 14, page.config["iRemainingDaysToSkipMfaRegistration"])
	require.Equal(t, "ConvergedProofUpRedirect 500121", w.post("/common/SAS/ProofUp", "ctx", page.str("sCtx"), "otc", "000000").page())
	require.NotEmpty(t, w.post("/common/SAS/ProofUp", "ctx", page.str("sCtx"), "LoginOptions", "3").location(t).Get("code"))
	require.NotEmpty(t, w.get(page.str("urlSkipMfaRegistration")).location(t).Get("code"))
	require.Nil(t, w.dir.User("bob@contoso.example").TOTP)

	sms := w.typed("erin", "amr_values", "mfa")
	code := w.waiting("erin", session.PromptMessage).Code
	asked := w.post("/common/SAS/ProcessAuth", "ctx", sms.str("sCtx"), "mfaAuthMethod", "OneWaySMS", "otc", code)
	require.Equal(t, "ConvergedProofUpRedirect 50203", asked.page(), asked.body)

	first := w.get(start())
	skipped := w.get("/common/resume?skipmfaregistration=1&ctx=" + first.str("sCtx"))
	require.Equal(t, "ConvergedProofUpRedirect", w.post("/common/login", "login", "bob@contoso.example", "passwd", password, "ctx", skipped.str("sCtx")).page(),
		"what was not offered is not put off")

	w.Traits = login.Traits{}
	demanded, again := w.typed("bob", "amr_values", "mfa"), w.typed("bob", "amr_values", "mfa")
	require.Equal(t, "ConvergedProofUpRedirect", demanded.page())
	require.Empty(t, demanded.str("urlSkipMfaRegistration"))
	require.Equal(t, "ConvergedProofUpRedirect 500121", w.post("/common/SAS/ProofUp", "ctx", demanded.str("sCtx"), "LoginOptions", "3").page(), "nobody puts off what is demanded")
	require.Equal(t, "ConvergedError 90023", w.post("/common/SAS/ProofUp", "ctx", w.typed("alice", "amr_values", "mfa").str("sCtx"), "otc", "1").page(), "a user with a factor does not register another one in its place")
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.Split(strings.SplitN(demanded.body, `data-secret="`, 2)[1], `"`)[0])
	require.NoError(t, err)
	otc := totp.Code(raw, uint64(w.now.Unix())/totp.Step)
	require.NotEmpty(t, w.post("/common/SAS/ProofUp", "ctx", demanded.str("sCtx"), "otc", otc).location(t).Get("code"))
	require.Equal(t, raw, w.dir.User("bob@contoso.example").TOTP)
	require.Equal(t, "ConvergedError 90023", w.post("/common/SAS/ProofUp", "ctx", again.str("sCtx"), "otc", otc).page(), "the page that was left open")
}
