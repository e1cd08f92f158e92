package webflow_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/webflow"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/tpm"
)

// A step is one challenge and its answer.
type step struct {
	kind   webflow.Kind
	method string
	// do answers the challenge. Nil: the flow waits for the phone.
	do func(t *testing.T, w *world, c webflow.Challenge) webflow.Answer
	// wrong are what the answer ends in, and the flow goes on. Nil: it is right.
	wrong []error
}

// A row is a way to sign in and what comes of it.
type row struct {
	name    string
	user    string
	tenant  func(*entratest.Options)
	before  func(*testing.T, *world)
	options func(*world, *webflow.Options)
	steps   []step
	// err are what the sign-in ends in; nil: well.
	err  []error
	text string // of the error
	code int    // AADSTS
	mfa  claims.Answer
	// enroll is what enrolling with the result ends in; nil: well.
	enroll error
}

func passwordless(_ *world, o *webflow.Options) { o.Password = "" }
func noMFA(_ *world, o *webflow.Options)        { o.MFA = false }

func typed(code string) func(*testing.T, *world, webflow.Challenge) webflow.Answer {
	return func(*testing.T, *world, webflow.Challenge) webflow.Answer { return webflow.Answer{Code: code} }
}

func chosen(id string) func(*testing.T, *world, webflow.Challenge) webflow.Answer {
	return func(*testing.T, *world, webflow.Challenge) webflow.Answer { return webflow.Answer{Choice: id} }
}

func password(p string) func(*testing.T, *world, webflow.Challenge) webflow.Answer {
	return func(*testing.T, *world, webflow.Challenge) webflow.Answer { return webflow.Answer{Password: p} }
}

func appCode(user string) func(*testing.T, *world, webflow.Challenge) webflow.Answer {
	return func(t *testing.T, w *world, _ webflow.Challenge) webflow.Answer {
		code, _, err := w.OneTimeCode(user)
		require.NoError(t, err)
		return webflow.Answer{Code: code}
	}
}

func textMessage(user string) func(*testing.T, *world, webflow.Challenge) webflow.Answer {
	return func(t *testing.T, w *world, _ webflow.Challenge) webflow.Answer {
		code, ok := w.SMSCode(user)
		require.True(t, ok)
		return webflow.Answer{Code: code}
	}
}

// approve lets the phone answer after a poll that finds it waiting.
func approve(user string) func(*testing.T, *world, webflow.Challenge) webflow.Answer {
	return func(t *testing.T, w *world, c webflow.Challenge) webflow.Answer {
		require.NotZero(t, c.Number)
		require.Contains(t, c.Message, "number")
		require.True(t, w.AnswerNumberMatch(user, c.Number))
		return webflow.Answer{Poll: true}
	}
}

func wrongNumber(user string) func(*testing.T, *world, webflow.Challenge) webflow.Answer {
	return func(t *testing.T, w *world, c webflow.Challenge) webflow.Answer {
		require.True(t, w.AnswerNumberMatch(user, (c.Number+1)%100))
		return webflow.Answer{Poll: true}
	}
}

func decline(user string) func(*testing.T, *world, webflow.Challenge) webflow.Answer {
	return func(t *testing.T, w *world, _ webflow.Challenge) webflow.Answer {
		require.True(t, w.DeclineNumberMatch(user))
		return webflow.Answer{Poll: true}
	}
}

func waits(*testing.T, *world, webflow.Challenge) webflow.Answer { return webflow.Answer{Poll: true} }

func touch(t *testing.T, w *world, c webflow.Challenge) webflow.Answer {
	require.NotNil(t, c.Fido)
	require.Equal(t, "login.microsoft.com", c.Fido.RelyingParty)
	a, err := key{w.passkey}.Assert(t.Context(), *c.Fido)
	require.NoError(t, err)
	return webflow.Answer{Assertion: a}
}

var again = []error{webflow.ErrTryAgain, broker.ErrBadCredential}

var rows = []row{
	{name: "password", user: alice, options: noMFA, mfa: claims.No},
	{name: "password, asked for", user: alice, options: func(w *world, o *webflow.Options) { o.Password, o.MFA = "", false },
		steps: []step{{kind: webflow.Password, do: password(secret)}}, mfa: claims.No},
	{name: "wrong password, and the right one", user: alice, options: func(w *world, o *webflow.Options) { o.Password, o.MFA = "", false },
		steps: []step{{kind: webflow.Password, do: password("wrong"), wrong: again}, {kind: webflow.Password, do: password(secret)}}, mfa: claims.No},
	{name: "code of an app", user: alice, steps: []step{{kind: webflow.Code, method: "PhoneAppOTP", do: appCode(alice)}}, mfa: claims.Yes},
	{name: "wrong code, and the right one", user: alice,
		steps: []step{{kind: webflow.Code, do: typed("000000"), wrong: again}, {kind: webflow.Code, do: appCode(alice)}}, mfa: claims.Yes},
	{name: "number match", user: carol, steps: []step{
		{kind: webflow.Number, method: "PhoneAppNotification", do: waits},
		{kind: webflow.Number, do: waits},
		{kind: webflow.Number, do: approve("carol")},
	}, mfa: claims.Yes},
	{name: "push without a number", user: carol,
		before: func(_ *testing.T, w *world) { w.web.edit(w.withoutNumbers) },
		steps: []step{{kind: webflow.Push, method: "PhoneAppNotification", do: func(t *testing.T, w *world, c webflow.Challenge) webflow.Answer {
			require.Zero(t, c.Number)
			require.True(t, w.AnswerNumberMatch("carol", w.number))
			return webflow.Answer{Poll: true}
		}}}, mfa: claims.Yes},
	{name: "number match, declined", user: carol, steps: []step{{kind: webflow.Number, do: decline("carol")}},
		err: []error{webflow.ErrDenied, broker.ErrUserCanceled}, code: 500121},
	{name: "number match, a wrong number", user: carol, steps: []step{{kind: webflow.Number, do: waits}, {kind: webflow.Number, do: wrongNumber("carol")}},
		err: []error{webflow.ErrDenied, broker.ErrUserCanceled}, code: 500121},
	{name: "push without a number, declined", user: carol,
		before: func(_ *testing.T, w *world) { w.web.edit(w.withoutNumbers) },
		steps:  []step{{kind: webflow.Push, do: decline("carol")}}, err: []error{webflow.ErrDenied, broker.ErrUserCanceled}, code: 500121},
	{name: "number match, nobody answers in as many polls as the page says", user: carol,
		before: func(_ *testing.T, w *world) { w.web.edit(setConfig("ConvergedTFA", "iMaxPollAttempts", "5")) },
		steps:  []step{{kind: webflow.Number}}, err: []error{webflow.ErrTimeout, broker.ErrInteractionRequired}},
	{name: "number match, the prompt is over", user: carol, steps: []step{{kind: webflow.Number}},
		err: []error{webflow.ErrDenied}, code: 500121, text: "not answered in time"},
	{name: "text message", user: pia, steps: []step{
		{kind: webflow.Code, method: "OneWaySMS", do: typed("000000"), wrong: again}, {kind: webflow.Code, do: textMessage("pia")},
	}, mfa: claims.Yes},
	{name: "call", user: pia, steps: []step{
		{kind: webflow.Code, do: chosen("TwoWayVoiceMobile")},
		{kind: webflow.Call, method: "TwoWayVoiceMobile", do: func(t *testing.T, w *world, c webflow.Challenge) webflow.Answer {
			require.True(t, w.AnswerCall("pia", true))
			return webflow.Answer{Poll: true}
		}},
	}, mfa: claims.Yes},
	{name: "call, hung up", user: pia, steps: []step{
		{kind: webflow.Code, do: chosen("TwoWayVoiceMobile")},
		{kind: webflow.Call, do: func(t *testing.T, w *world, c webflow.Challenge) webflow.Answer {
			require.True(t, w.AnswerCall("pia", false))
			return webflow.Answer{Poll: true}
		}},
	}, err: []error{webflow.ErrDenied}, code: 500121},
	{name: "access pass", user: bob, options: passwordless, before: givesPass("bob"), steps: []step{
		{kind: webflow.AccessPass, do: typed("wrong pass"), wrong: again},
		{kind: webflow.AccessPass, method: webflow.MethodAccessPass, do: func(_ *testing.T, w *world, _ webflow.Challenge) webflow.Answer {
			return webflow.Answer{Code: w.pass}
		}},
	}, mfa: claims.Yes},
	{name: "phone in place of a password", user: paul, options: passwordless,
		steps: []step{{kind: webflow.Number, method: webflow.MethodPhone, do: waits}, {kind: webflow.Number, do: approve("paul")}}, mfa: claims.Yes},
	{name: "phone in place of a password, a wrong number", user: paul, options: passwordless,
		steps: []step{{kind: webflow.Number, do: wrongNumber("paul")}}, err: []error{webflow.ErrDenied}},
	{name: "phone in place of a password, declined", user: paul, options: passwordless,
		steps: []step{{kind: webflow.Number, do: decline("paul")}}, err: []error{webflow.ErrDenied}},
	{name: "phone, then another request, then the password", user: paul, options: func(w *world, o *webflow.Options) { o.Password, o.MFA = "", false },
		steps: []step{
			{kind: webflow.Number, do: chosen(webflow.MethodPhone)}, {kind: webflow.Number, do: chosen(webflow.MethodPassword)},
			{kind: webflow.Password, do: password(secret)},
		}, mfa: claims.No},
	{name: "security key in place of a password", user: kim, options: passwordless,
		steps: []step{{kind: webflow.Password, do: chosen(webflow.MethodKey)}, {kind: webflow.SecurityKey, method: webflow.MethodKey, do: touch}}, mfa: claims.Yes},
	{name: "security key as second factor", user: kim, steps: []step{{kind: webflow.SecurityKey, method: webflow.MethodKey, do: touch}}, mfa: claims.Yes},
	{name: "security key, a wrong signature", user: kim, steps: []step{{kind: webflow.SecurityKey, do: func(t *testing.T, w *world, c webflow.Challenge) webflow.Answer {
		a := touch(t, w, c)
		a.Assertion.Signature[8] ^= 1
		return a
	}}}, err: []error{}, code: 135003},
	{name: "expired password", user: pia, options: noMFA, before: expires("pia"), steps: []step{
		{kind: webflow.NewPassword, do: changes(secret, "short"), wrong: again},
		{kind: webflow.NewPassword, do: changes(secret, "new rubber band")},
	}, mfa: claims.No},
	{name: "expired password, second factor after it", user: pia, before: expires("pia"), steps: []step{
		{kind: webflow.NewPassword, do: changes(secret, "new rubber band")}, {kind: webflow.Code, do: textMessage("pia")},
	}, mfa: claims.Yes},
	{name: "a user without a method", user: bob, err: []error{webflow.ErrNoMethod, webflow.ErrPage, errors.ErrUnsupported, broker.ErrInteractionRequired}, text: "device code"},
	{name: "a registration with days left", user: bob, options: noMFA, tenant: func(o *entratest.Options) { o.Pages.RegistrationDays = 14 }, mfa: claims.No},
	{name: "a registration with days left, without the link", user: bob, options: noMFA, tenant: func(o *entratest.Options) { o.Pages.RegistrationDays = 14 },
		before: func(_ *testing.T, w *world) {
			w.web.edit(setConfig("ConvergedProofUpRedirect", "urlSkipMfaRegistration", ""))
		}, mfa: claims.No},
	{name: "a registration campaign", user: pia, tenant: func(o *entratest.Options) { o.Pages.RegistrationCampaign = true },
		steps: []step{{kind: webflow.Code, do: textMessage("pia")}}, mfa: claims.Yes},
	{name: "a page that posts itself", user: alice, tenant: func(o *entratest.Options) { o.Pages.Intermediate = true },
		steps: []step{{kind: webflow.Code, do: appCode(alice)}}, mfa: claims.Yes},
	{name: "a redirect by script", user: alice, tenant: func(o *entratest.Options) { o.Pages.ScriptRedirect = true },
		steps: []step{{kind: webflow.Code, do: appCode(alice)}}, mfa: claims.Yes},
	{name: "stay signed in", user: alice, tenant: func(o *entratest.Options) { o.AskToStaySignedIn = true },
		steps: []step{{kind: webflow.Code, do: appCode(alice)}}, mfa: claims.Yes},
	{name: "every interrupt at once", user: pia, before: expires("pia"), tenant: func(o *entratest.Options) {
		o.AskToStaySignedIn = true
		o.Pages = entratest.Pages{Intermediate: true, ScriptRedirect: true, RegistrationCampaign: true}
	}, steps: []step{
		{kind: webflow.NewPassword, do: changes(secret, "new rubber band")}, {kind: webflow.Code, do: chosen("TwoWayVoiceMobile")},
		{kind: webflow.Call, do: chosen("OneWaySMS")}, {kind: webflow.Code, do: typed("000000"), wrong: again}, {kind: webflow.Code, do: textMessage("pia")},
	}, mfa: claims.Yes},
	{name: "consent", user: alice, options: thirdParty("https://graph.microsoft.com/Mail.Send"), err: []error{webflow.ErrConsent, webflow.ErrPage, broker.ErrAppConfig}, text: "consent"},
	{name: "federated", user: dave, options: noMFA, mfa: claims.No},
	{name: "federated, second factor", user: dave, steps: []step{{kind: webflow.Code, do: appCode(dave)}}, mfa: claims.Yes},
	{name: "federated, wrong password, and the right one", user: dave, options: func(w *world, o *webflow.Options) { o.Password, o.MFA = "", false },
		steps: []step{{kind: webflow.Password, do: password("wrong"), wrong: again}, {kind: webflow.Password, do: password(secret)}}, mfa: claims.No},
	{name: "federated, a server without a form, for which there is WS-Trust", user: dave,
		before: func(_ *testing.T, w *world) { w.web.edit(withoutForm) }, err: []error{webflow.ErrPage, errors.ErrUnsupported}, text: "broker.Federated (WS-Trust)"},
	{name: "the app is confirmed", user: alice, tenant: func(o *entratest.Options) { o.Pages.ConfirmApp = true },
		steps: []step{{kind: webflow.Code, do: appCode(alice)}}, mfa: claims.Yes},
	{name: "terms of use", user: alice, tenant: func(o *entratest.Options) { o.Policies = []byte(termsPolicy) }, options: thirdParty("api://payroll/.default"),
		err: []error{webflow.ErrTerms, webflow.ErrPage, broker.ErrInteractionRequired, errors.ErrUnsupported}, text: "terms of use"},
	{name: "account picker", user: alice, before: func(_ *testing.T, w *world) {
		w.web.edit(setConfig("ConvergedSignIn", "arrSessions", `[{"id":"other@contoso.example","isSignedIn":true}]`))
	}, steps: []step{{kind: webflow.Code, do: appCode(alice)}}, mfa: claims.Yes},
	{name: "wrong password", user: alice, options: func(_ *world, o *webflow.Options) { o.Password = "wrong" }, err: again, code: 50126},
	{name: "too many wrong passwords", user: alice, before: lockedOut, err: []error{broker.ErrAccountLocked}, code: 50053},
	{name: "unknown user, without a password", user: "nobody@contoso.example", options: passwordless, err: []error{broker.ErrUserNotFound}},
	{name: "unknown user", user: "nobody@contoso.example", err: []error{}, code: 50034},
	{name: "disabled user", user: alice, before: func(t *testing.T, w *world) { require.NoError(t, w.DisableUser("alice")) },
		err: []error{broker.ErrUserDisabled}, code: 50057},
	{name: "blocked by policy", user: alice, options: thirdParty("api://secrets/.default"), err: []error{broker.ErrBlocked}, code: 53003},
	{name: "disabled device", user: alice, options: noMFA, before: deviceDisabled, enroll: broker.ErrDeviceDisabled},
}

const termsPolicy = `{"value":[
 {"id":"t1","displayName":"Payroll has terms","state":"enabled","conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["` + payroll + `"]},"clientAppTypes":["all"]},
  "grantControls":{"operator":"OR","builtInControls":[],"termsOfUse":["dddddddd-0000-4000-8000-000000000001"]}}]}`

// withoutForm is a federation server that signs in by Kerberos alone.
func withoutForm(path, body string) string {
	if !strings.HasPrefix(path, "/adfs/") {
		return body
	}
	return "<html><body>Integrated Windows authentication is required.</body></html>"
}

// givesPass gives a user a temporary access pass.
func givesPass(user string) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		var err error
		w.pass, err = w.CreateAccessPass(user, false)
		require.NoError(t, err)
	}
}

func expires(user string) func(*testing.T, *world) {
	return func(t *testing.T, w *world) { require.NoError(t, w.ExpirePassword(user)) }
}

func changes(old, next string) func(*testing.T, *world, webflow.Challenge) webflow.Answer {
	return func(*testing.T, *world, webflow.Challenge) webflow.Answer {
		return webflow.Answer{Password: old, NewPassword: next}
	}
}

// thirdParty signs in for an app of the tenant.
func thirdParty(scope string) func(*world, *webflow.Options) {
	return func(_ *world, o *webflow.Options) {
		o.MFA, o.ClientID, o.RedirectURI, o.Scopes = false, app, native, []string{"openid", "offline_access", scope}
	}
}

// lockedOut has somebody else try passwords.
func lockedOut(t *testing.T, w *world) {
	for range 10 {
		o := w.options(alice)
		o.Password = "guess"
		f, _, err := webflow.Begin(t.Context(), o)
		require.ErrorIs(t, err, broker.ErrBadCredential)
		f.Close()
	}
}

func TestWays(t *testing.T) {
	t.Parallel()
	for machine, keys := range machines {
		for _, r := range rows {
			t.Run(machine+"/"+r.name, func(t *testing.T) {
				t.Parallel()
				r.run(t, keys(t))
			})
		}
	}
}

func (r row) run(t *testing.T, keys tpm.KeyStore) {
	w := newWorld(t, r.tenant)
	w.b = w.broker(t, keys)
	if r.before != nil {
		r.before(t, w)
	}
	o := w.options(r.user)
	if r.options != nil {
		r.options(w, &o)
	}
	f, c, err := webflow.Begin(t.Context(), o)
	if f != nil {
		defer f.Close()
	}
	for i, s := range r.steps {
		require.NoError(t, err, "before step %d", i)
		require.Equal(t, s.kind, c.Kind, "step %d", i)
		require.NotEmpty(t, c.Message)
		require.Equal(t, c.Kind.Polls(), c.PollEvery > 0 && c.MaxPolls > 0)
		if s.method != "" {
			require.Equal(t, s.method, c.Method)
		}
		if s.do == nil {
			c, err = f.Wait(t.Context())
			continue
		}
		c, err = f.Continue(t.Context(), s.do(t, w, c))
		for _, is := range s.wrong {
			require.ErrorIs(t, err, is, "step %d", i)
		}
		if s.wrong != nil {
			err = nil
		}
	}
	if r.err != nil {
		for _, is := range r.err {
			require.ErrorIs(t, err, is)
		}
		require.ErrorContains(t, err, r.text)
		var said *broker.Error
		if errors.As(err, &said) {
			require.Equal(t, r.code, said.Code)
		} else {
			require.Zero(t, r.code, err)
		}
		return
	}
	require.NoError(t, err)
	require.Equal(t, webflow.Done, c.Kind)
	tokens, err := f.Tokens()
	require.NoError(t, err)
	require.NotEmpty(t, tokens.RefreshToken)
	res, err := w.b.Enroll(t.Context(), tokens.Credential(), broker.EnrollRequest{})
	if r.enroll != nil {
		require.ErrorIs(t, err, r.enroll)
		return
	}
	require.NoError(t, err)
	require.Equal(t, r.user, res.Account.PreferredUsername)
	require.Equal(t, r.mfa, res.Metadata.MFA.MFA)
}

// deviceDisabled is a machine whose device an administrator disabled.
func deviceDisabled(t *testing.T, w *world) {
	d, err := w.b.RegisterDevice(t.Context(), broker.RegisterRequest{Credential: broker.Password{Username: alice, Password: secret}})
	require.NoError(t, err)
	require.NoError(t, w.DisableDevice(d.ID))
}
