package authd_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/webflow"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/examples/authd"
	"github.com/prtbroker/prtbroker/tpm"
)

// A row is a way to sign in that authd drives, or what it ends in.
type row struct {
	name         string
	user         string
	passwordless bool
	password     string // "": the right one
	fido         bool
	before       func(*testing.T, *world)
	tenant       func(*entratest.Options)

	// begins is the method of the challenge; "": the sign-in ends before it, in err.
	begins string
	// do answers the challenge until the sign-in ends.
	do func(t *testing.T, w *world, f *authd.MFAFlowState, c *authd.MFAChallengeInfo) (*oauth2.Token, error)

	// What it ends in; err false: well.
	err      bool
	category authd.MFAErrorCategory
	code     int
	is       error
}

type answering = func(*testing.T, *world, *authd.MFAFlowState, *authd.MFAChallengeInfo) (*oauth2.Token, error)

// types enters codes; all but the last are wrong and may be followed by another.
func types(user string, codes ...func(*testing.T, *world) string) answering {
	return func(t *testing.T, w *world, f *authd.MFAFlowState, c *authd.MFAChallengeInfo) (*oauth2.Token, error) {
		require.Zero(t, c.PollingIntervalMs)
		require.Zero(t, c.MaxPollAttempts)
		for _, code := range codes[:len(codes)-1] {
			_, err := w.answer(user, f, nil, code(t, w), 0)
			require.True(t, mfaError(t, err).IsMFARetryableCode(), err)
			require.NotZero(t, mfaError(t, err).AADSTS)
		}
		return w.answer(user, f, nil, codes[len(codes)-1](t, w), 0)
	}
}

func text(s string) func(*testing.T, *world) string {
	return func(*testing.T, *world) string { return s }
}

func appCode(user string) func(*testing.T, *world) string {
	return func(_ *testing.T, w *world) string { return w.code(user) }
}

func textMessage(user string) func(*testing.T, *world) string {
	return func(t *testing.T, w *world) string {
		code, ok := w.SMSCode(user)
		require.True(t, ok)
		return code
	}
}

// polls waits twice for a phone that then does something.
func polls(user string, phone func(t *testing.T, w *world, c *authd.MFAChallengeInfo)) answering {
	return func(t *testing.T, w *world, f *authd.MFAFlowState, c *authd.MFAChallengeInfo) (*oauth2.Token, error) {
		require.Positive(t, c.PollingIntervalMs)
		require.Positive(t, c.MaxPollAttempts)
		for attempt := 1; attempt <= 2; attempt++ {
			_, err := w.answer(user, f, nil, "", attempt)
			require.True(t, mfaError(t, err).IsMFAPollContinue(), err)
		}
		phone(t, w, c)
		return w.answer(user, f, nil, "", 3)
	}
}

func approves(user string) func(*testing.T, *world, *authd.MFAChallengeInfo) {
	return func(t *testing.T, w *world, c *authd.MFAChallengeInfo) {
		require.True(t, w.AnswerNumberMatch(user, numberIn(t, c)))
	}
}

func declines(user string) func(*testing.T, *world, *authd.MFAChallengeInfo) {
	return func(t *testing.T, w *world, c *authd.MFAChallengeInfo) {
		require.True(t, w.AnswerNumberMatch(user, (numberIn(t, c)+1)%100))
	}
}

// touches signs with the user's security key.
func touches(user string) answering {
	return func(t *testing.T, w *world, f *authd.MFAFlowState, c *authd.MFAChallengeInfo) (*oauth2.Token, error) {
		return w.answer(user, f, nil, w.assertion(user, c), 0)
	}
}

// nobodyAnswers polls as often as the challenge says, and once more.
func nobodyAnswers(user string) answering {
	return func(t *testing.T, w *world, f *authd.MFAFlowState, c *authd.MFAChallengeInfo) (token *oauth2.Token, err error) {
		for attempt := 1; attempt <= c.MaxPollAttempts+1; attempt++ {
			if token, err = w.answer(user, f, nil, "", attempt); err == nil || !mfaError(t, err).IsMFAPollContinue() {
				return token, err
			}
		}
		return token, err
	}
}

var rows = []row{
	{name: "code of an app", user: alice, begins: "PhoneAppOTP", do: types(alice, appCode(alice))},
	{name: "wrong codes, and the right one", user: alice, begins: "PhoneAppOTP", do: types(alice, text("000000"), text("000001"), appCode(alice))},
	{name: "text message", user: pia, begins: "OneWaySMS", do: types(pia, text("000000"), textMessage("pia"))},
	{name: "number match", user: carol, begins: "PhoneAppNotification", do: polls(carol, approves("carol"))},
	{name: "push without a number", user: carol, begins: "PhoneAppNotification",
		before: func(_ *testing.T, w *world) { w.web.set(func(x *wire) { x.change = w.withoutNumbers }) },
		do: polls(carol, func(t *testing.T, w *world, c *authd.MFAChallengeInfo) {
			require.NotRegexp(t, `\d`, c.Message)
			require.True(t, w.AnswerNumberMatch("carol", w.number))
		})},
	{name: "security key as second factor", user: kim, fido: true, begins: "FidoKey", do: touches(kim)},
	{name: "another method than a security key that is not there", user: kurt, begins: "OneWaySMS", do: types(kurt, textMessage("kurt"))},
	{name: "a network that fails during a poll", user: carol, begins: "PhoneAppNotification",
		do: func(t *testing.T, w *world, f *authd.MFAFlowState, c *authd.MFAChallengeInfo) (*oauth2.Token, error) {
			remove := w.AddFault(entratest.Fault{Kind: entratest.DropBefore, Times: -1})
			_, err := w.answer(carol, f, nil, "", 1)
			require.True(t, mfaError(t, err).IsMFAPollContinue(), err)
			require.ErrorIs(t, err, broker.ErrTransient)
			remove()
			return polls(carol, approves("carol"))(t, w, f, c)
		}},

	{name: "no password: phone", user: paul, passwordless: true, begins: "PhoneAppNotification", do: polls(paul, approves("paul"))},
	{name: "no password: access pass", user: bob, passwordless: true, before: givesPass("bob"), begins: "AccessPass",
		do: types(bob, text("wrong pass"), func(_ *testing.T, w *world) string { return w.pass })},
	{name: "no password: security key", user: kim, passwordless: true, fido: true, begins: "FidoKey", do: touches(kim)},
	{name: "no password, and no way without", user: alice, passwordless: true, err: true, category: authd.MFAErrorPasswordRequired},
	{name: "no password, a security key that is not there", user: kim, passwordless: true, err: true, category: authd.MFAErrorPasswordRequired},
	{name: "no password: phone, declined", user: paul, passwordless: true, begins: "PhoneAppNotification", do: polls(paul, declines("paul")), err: true, category: authd.MFAErrorDenied},

	{name: "wrong password", user: alice, password: "guess", err: true, code: 50126, is: broker.ErrBadCredential},
	{name: "too many wrong passwords", user: alice, before: lockedOut, err: true, code: 50053, is: broker.ErrAccountLocked},
	{name: "expired password", user: alice, before: expires("alice"), err: true, code: 50055},
	{name: "disabled user", user: alice, before: func(t *testing.T, w *world) { require.NoError(t, w.DisableUser("alice")) }, err: true, code: 50057, is: broker.ErrUserDisabled},
	{name: "unknown user", user: "nobody@contoso.example", err: true, code: 50034},
	{name: "a user without a second factor", user: bob, err: true, category: authd.MFAErrorRequired, code: 50079, is: webflow.ErrNoMethod},
	{name: "blocked by policy", user: alice, tenant: func(o *entratest.Options) { o.Policies = []byte(graphBlocked) }, begins: "PhoneAppOTP",
		do: types(alice, appCode(alice)), err: true, code: 53003, is: broker.ErrBlocked},
	{name: "declined", user: carol, begins: "PhoneAppNotification", do: polls(carol, declines("carol")), err: true, category: authd.MFAErrorDenied, code: 500121},
	{name: "nobody answers", user: carol, begins: "PhoneAppNotification", do: nobodyAnswers(carol), err: true, is: webflow.ErrTimeout},
	{name: "a security key that is not there, and nothing else", user: kim, begins: "FidoKey", do: touches(kim)},
	{name: "a security key that signs wrongly", user: kim, fido: true, begins: "FidoKey", err: true, code: 135003,
		do: func(t *testing.T, w *world, f *authd.MFAFlowState, c *authd.MFAChallengeInfo) (*oauth2.Token, error) {
			w.passkeys[kim] = &entratest.Passkey{ID: w.passkeys[kim].ID, Key: w.passkeys[kurt].Key}
			return touches(kim)(t, w, f, c)
		}},
	{name: "a security key that signed something else", user: kim, fido: true, begins: "FidoKey", err: true,
		do: func(t *testing.T, w *world, f *authd.MFAFlowState, c *authd.MFAChallengeInfo) (*oauth2.Token, error) {
			c.FidoChallenge += "."
			before := len(w.web.take())
			require.NotZero(t, before)
			token, err := touches(kim)(t, w, f, c)
			require.Empty(t, w.web.take(), "nothing is sent")
			return token, err
		}},
	{name: "no assertion", user: kim, fido: true, begins: "FidoKey", err: true,
		do: func(t *testing.T, w *world, f *authd.MFAFlowState, c *authd.MFAChallengeInfo) (*oauth2.Token, error) {
			return w.answer(kim, f, nil, "123456", 0)
		}},
	{name: "a page that is not known", user: alice, err: true, category: authd.MFAErrorRequired, is: webflow.ErrPage,
		before: func(_ *testing.T, w *world) {
			w.web.set(func(x *wire) {
				x.change = func(_, body string) string { return replaceID(body, "ConvergedTFA", "ConvergedSomethingElse") }
			})
		}},
}

const graphBlocked = `{"value":[{"id":"p1","displayName":"Graph is blocked","state":"enabled","conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["00000003-0000-0000-c000-000000000000"]},"clientAppTypes":["all"]},"grantControls":{"operator":"OR","builtInControls":["block"]}}]}`

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

func lockedOut(t *testing.T, w *world) {
	for range 10 {
		_, _, err := w.begin(alice, "guess", nil)
		require.Equal(t, 50126, mfaError(t, err).AADSTS)
	}
}

// Every way ends in a token whose user authd knows, in a device, and in the user's
// groups, which the tenant shows to MFA alone.
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
	change := r.tenant
	if change == nil {
		change = func(*entratest.Options) {}
	}
	w := newWorld(t, keys, change)
	if r.before != nil {
		r.before(t, w)
	}
	password := secret
	switch {
	case r.passwordless:
		password = ""
	case r.password != "":
		password = r.password
	}
	var opts []authd.AuthOption
	if r.fido {
		opts = append(opts, authd.AuthOptionFido)
	}
	f, c, err := w.begin(r.user, password, nil, opts...)
	var token *oauth2.Token
	if r.begins != "" {
		require.NoError(t, err)
		require.Equal(t, r.begins, c.Method)
		require.NotEmpty(t, c.Message)
		token, err = r.do(t, w, f, c)
	}
	if r.err {
		e := mfaError(t, err)
		require.Equal(t, r.category, e.Category, err)
		require.Equal(t, r.code, e.AADSTS, err)
		if r.is != nil {
			require.ErrorIs(t, err, r.is)
		}
		require.NotContains(t, err.Error(), secret)
		require.Empty(t, w.Devices())
		return
	}
	require.NoError(t, err)
	said, err := claims.Parse(token.AccessToken)
	require.NoError(t, err)
	require.Equal(t, r.user, said.Username)
	require.NotEmpty(t, said.ObjectID)
	require.Equal(t, w.TenantID(), said.TenantID)
	require.Equal(t, r.user, token.Extra("preferred_username"))
	if !r.passwordless {
		require.Equal(t, 1, w.web.sent("correct+horse+battery+staple"), "the password is sent once")
	}

	data := w.register(token)
	names, err := w.groups(w.p, token, data)
	require.NoError(t, err)
	require.Equal(t, []string{"linux-admins"}, names)
	require.Len(t, w.PRTs(), 1)
	require.True(t, w.PRTs()[0].MFA)
}

// A poll ends at once when its caller gives up, and when somebody frees the flow.
func TestCancel(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	f, _, err := w.begin(carol, secret, nil)
	require.NoError(t, err)
	w.web.set(func(x *wire) { x.hang = true })

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := w.p.AcquireTokenByMFAFlow(ctx, app, w.TenantID(), nil, carol, f, "", 1)
		done <- err
	}()
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)

	go func() {
		_, err := w.p.AcquireTokenByMFAFlow(t.Context(), app, w.TenantID(), nil, carol, f, "", 2)
		done <- err
	}()
	authd.FreeMFAFlowState(f)
	err = <-done
	require.ErrorIs(t, err, webflow.ErrClosed)
	require.Equal(t, authd.MFAErrorOther, mfaError(t, err).Category)
	authd.FreeMFAFlowState(f)
	authd.FreeMFAFlowState(nil)

	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	_, _, err = w.p.InitiateMFAFlow(ctx, app, w.TenantID(), nil, carol, secret, false)
	require.ErrorIs(t, err, context.Canceled)
	_, err = w.answer(carol, nil, nil, "", 1)
	require.Equal(t, authd.MFAErrorOther, mfaError(t, err).Category)
}

// The PRT that is kept does not stand in for the password.
func TestThePasswordIsAskedForBesideAPRT(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	data := w.register(w.signIn(nil))
	_, _, err := w.begin(alice, "guess", &data)
	require.Equal(t, 50126, mfaError(t, err).AADSTS)
	_, c, err := w.begin(alice, secret, &data)
	require.NoError(t, err)
	require.Equal(t, "PhoneAppOTP", c.Method, "nor for the second factor")
}

func TestMFAErrorText(t *testing.T) {
	t.Parallel()
	require.Equal(t, "AADSTS50126: no", (&authd.MFAError{AADSTS: 50126, Message: "no"}).Error())
	require.Equal(t, "no", (&authd.MFAError{Message: "no"}).Error())
	require.NoError(t, errors.Unwrap(&authd.MFAError{}))
	for category, is := range map[authd.MFAErrorCategory]func(*authd.MFAError) bool{
		authd.MFAErrorPollContinue: (*authd.MFAError).IsMFAPollContinue, authd.MFAErrorDenied: (*authd.MFAError).IsMFADenied,
		authd.MFAErrorRequired: (*authd.MFAError).IsMFARequired, authd.MFAErrorRetryableCode: (*authd.MFAError).IsMFARetryableCode,
		authd.MFAErrorPasswordRequired: (*authd.MFAError).IsMFAPasswordRequired,
	} {
		for c := authd.MFAErrorOther; c <= authd.MFAErrorPasswordRequired; c++ {
			require.Equal(t, c == category, is(&authd.MFAError{Category: c}))
		}
	}
}
