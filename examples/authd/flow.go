package authd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/oauth2"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/webflow"
)

// An AuthOption changes a sign-in.
type AuthOption int

// Options, with the numbers that they have in authd.
const (
	// AuthOptionNoDAGFallback has no effect: this package never starts a device code
	// flow by itself.
	AuthOptionNoDAGFallback AuthOption = iota
	// AuthOptionFido says that the caller has a security key. Without it another
	// method of the user is chosen if there is one.
	AuthOptionFido
	// AuthOptionPasswordless has no effect: an empty password means the same.
	AuthOptionPasswordless
)

// methodDone is the method of a challenge that needs no action: the first poll ends
// the sign-in.
const methodDone = "None"

// An MFAChallengeInfo is what the user has to do.
type MFAChallengeInfo struct {
	// Message is the instruction in English, including any number to type into the
	// authenticator app.
	Message string
	// Method is PhoneAppNotification, PhoneAppOTP, OneWaySMS, ConsolidatedTelephony,
	// CompanionAppsNotification, HardwareOTP, a TwoWayVoice… or AccessPass, as Entra
	// names them, or FidoKey.
	Method string
	// PollingIntervalMs is how long to wait between two polls, in milliseconds, and
	// MaxPollAttempts is how often it makes sense to poll. Both are zero if the user
	// types something.
	PollingIntervalMs int
	MaxPollAttempts   int
	// FidoChallenge is the text that a security key signs, as it appears on the page:
	// its base64url goes into the client data, whose origin is
	// https://login.microsoft.com. Empty for other methods.
	FidoChallenge string
	// FidoAllowList holds the ids of the credentials that may sign, in standard
	// base64.
	FidoAllowList []string
}

// An MFAFlowState is a sign-in in progress.
type MFAFlowState struct{ flow *webflow.Flow }

// Format prints the type's name: what the sign-in holds is not for a log.
func (MFAFlowState) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "MFAFlowState{}") }

// FreeMFAFlowState ends a sign-in. It may be called several times, with nil, and
// during a poll, which then ends at once.
func FreeMFAFlowState(s *MFAFlowState) {
	if s != nil && s.flow != nil {
		s.flow.Close()
	}
}

// InitiateMFAFlow signs a user in, with a password or, if it is empty, without one,
// up to the second factor. The caller answers the challenge with
// AcquireTokenByMFAFlow and ends the flow with FreeMFAFlowState. The password is sent
// once.
//
// MFA is always requested, so that the resulting PRT carries it. The PRT that is kept
// for the user is not presented to the page: it would sign the user in without the
// password. The page therefore sees no device.
//
// clientID and data are not used. withDeviceScope has no effect: the result of a
// sign-in can always register a device, even without a password. Errors are an
// *MFAError or that of ctx.
func (p *Provider) InitiateMFAFlow(ctx context.Context, clientID, tenantID string, data *DeviceRegistrationData, username, password string, withDeviceScope bool, opts ...AuthOption) (*MFAFlowState, *MFAChallengeInfo, error) {
	f, c, err := webflow.Begin(ctx, webflow.Options{
		Tenant: tenantID, Username: username, Password: password, MFA: true, Scopes: p.scopes(),
		Cloud: p.cfg.Cloud, Transport: p.cfg.Transport, Now: p.cfg.Now,
	})
	if err == nil {
		c, err = preferred(ctx, f, c, password == "", slices.Contains(opts, AuthOptionFido))
	}
	if err != nil {
		if f != nil {
			f.Close()
		}
		return nil, nil, p.stopped(ctx, err)
	}
	return &MFAFlowState{f}, describe(c), nil
}

// InitiateMFAFlowWithPassword is InitiateMFAFlow under the name that authd used
// before July 2026.
func (p *Provider) InitiateMFAFlowWithPassword(ctx context.Context, clientID, tenantID string, data *DeviceRegistrationData, username, password string, withDeviceScope bool, opts ...AuthOption) (*MFAFlowState, *MFAChallengeInfo, error) {
	return p.InitiateMFAFlow(ctx, clientID, tenantID, data, username, password, withDeviceScope, opts...)
}

// scopes returns the scopes that a sign-in requests. authd reads the user's name and
// object id from the access token for Microsoft Graph, after it has verified its
// signature. They are scopes and not a resource because authd refreshes the token at
// the v2 endpoint without a scope, which means those of the sign-in.
func (p *Provider) scopes() []string {
	graph := "https://" + cmp.Or(p.cfg.Cloud.GraphHost, broker.CloudPublic.GraphHost)
	return []string{graph + "/.default", "openid", "profile", "offline_access"}
}

// passwordless returns the methods that can begin a sign-in without a password, best
// first.
func passwordless(fido bool) []string {
	if fido {
		return []string{webflow.MethodKey, webflow.MethodAccessPass, webflow.MethodPhone}
	}
	return []string{webflow.MethodAccessPass, webflow.MethodPhone}
}

// preferred switches to another method if the caller cannot use the one that the
// service proposes.
func preferred(ctx context.Context, f *webflow.Flow, c webflow.Challenge, noPassword, fido bool) (webflow.Challenge, error) {
	var want []string
	switch {
	case c.Kind == webflow.NewPassword:
		return c, failure(MFAErrorOther, codePasswordExpired, "the password has expired")
	case c.Kind == webflow.Password && !noPassword:
		return c, failure(MFAErrorOther, codeWrongPassword, "the password was not accepted")
	case c.Kind == webflow.Password:
		want = passwordless(fido)
	case c.Kind == webflow.SecurityKey && !fido:
		if want = []string{webflow.MethodAccessPass, webflow.MethodPhone}; !noPassword {
			want = ids(c.Methods)
		}
	default:
		return c, nil
	}
	for _, id := range want {
		if slices.Contains(ids(c.Methods), id) {
			return f.Continue(ctx, webflow.Answer{Choice: id})
		}
	}
	if c.Kind == webflow.Password {
		return c, failure(MFAErrorPasswordRequired, 0, "the user has no way to sign in without a password here")
	}
	return c, nil // a security key and nothing else: authd falls back to a device code
}

func ids(methods []webflow.Method) (out []string) {
	for _, m := range methods {
		out = append(out, m.ID)
	}
	return out
}

// describe says what the user has to do in authd's words.
func describe(c webflow.Challenge) *MFAChallengeInfo {
	out := &MFAChallengeInfo{Message: c.Message, Method: c.Method, PollingIntervalMs: int(c.PollEvery.Milliseconds()), MaxPollAttempts: c.MaxPolls}
	switch {
	case c.Kind == webflow.Done:
		out.Method, out.PollingIntervalMs, out.MaxPollAttempts = methodDone, 1, 1
	case c.Method == webflow.MethodPhone:
		out.Method = "PhoneAppNotification"
	case c.Fido != nil:
		out.FidoChallenge, out.FidoAllowList = fidoChallenge(c.Fido)
	}
	return out
}

// AcquireTokenByMFAFlow answers the challenge. authData is the code that the user
// typed, or the security key's assertion as the JSON that authd makes of it. If it is
// empty, the call polls once. pollAttempt is not used: the flow counts its polls.
//
// The result holds an access token for Microsoft Graph and a refresh token of the
// broker client, which RegisterDevice and AcquireAccessTokenForGraphAPI use. If data
// names a device, the sign-in is noted, and the next token for Microsoft Graph comes
// from a new PRT, which carries the new MFA.
//
// Errors are an *MFAError or that of ctx. After MFAErrorPollContinue and
// MFAErrorRetryableCode the flow goes on; every other error ends it.
func (p *Provider) AcquireTokenByMFAFlow(ctx context.Context, clientID, tenantID string, data *DeviceRegistrationData, username string, s *MFAFlowState, authData string, pollAttempt int) (*oauth2.Token, error) {
	if s == nil || s.flow == nil {
		return nil, failure(MFAErrorOther, 0, "there is no sign-in to continue")
	}
	c, err := answer(ctx, s.flow, authData)
	switch {
	case errors.Is(err, webflow.ErrTryAgain) && c.Kind.Polls(), err != nil && c.Kind.Polls() && errors.Is(err, broker.ErrTransient):
		e := signInError(err) // the network failed: the next poll may succeed
		e.Category = MFAErrorPollContinue
		return nil, e
	case errors.Is(err, webflow.ErrTryAgain):
		e := signInError(err)
		e.Category = MFAErrorRetryableCode
		return nil, e
	case err != nil:
		return nil, p.stopped(ctx, err)
	case c.Kind.Polls():
		return nil, failure(MFAErrorPollContinue, 0, "the user has not answered yet")
	case c.Kind != webflow.Done:
		return nil, failure(MFAErrorRequired, 0, "the service asks for one more step: sign in by device code")
	}
	t, err := s.flow.Tokens()
	if err != nil {
		return nil, p.stopped(ctx, err)
	}
	p.note(ctx, tenantID, data, t.RefreshToken)
	out := &oauth2.Token{AccessToken: t.AccessToken, RefreshToken: t.RefreshToken, TokenType: "Bearer"}
	return out.WithExtra(extras(t.AccessToken)), nil
}

// answer is one step of the flow.
func answer(ctx context.Context, f *webflow.Flow, authData string) (webflow.Challenge, error) {
	c, err := f.Challenge(ctx)
	switch {
	case err != nil, c.Kind == webflow.Done:
		return c, err
	case authData == "" && c.Kind.Polls():
		return f.Continue(ctx, webflow.Answer{Poll: true})
	case c.Kind == webflow.SecurityKey:
		a, err := parseAssertion(authData, c.Fido)
		if err != nil {
			return c, err
		}
		return f.Continue(ctx, webflow.Answer{Assertion: a})
	}
	return f.Continue(ctx, webflow.Answer{Code: authData})
}

// note records that a refresh token was just obtained with MFA.
func (p *Provider) note(ctx context.Context, tenantID string, data *DeviceRegistrationData, refreshToken string) {
	if data == nil || !data.IsValid() {
		return
	}
	m, err := p.machine(ctx, tenantID, *data)
	if err != nil {
		p.cfg.Logger.WarnContext(ctx, "the device's data does not open", "device", data.DeviceID, "error", err)
		return
	}
	m.setFresh(refreshToken)
}

// stopped is the error of a flow that has ended: that of the caller's context, or an
// *MFAError.
func (p *Provider) stopped(ctx context.Context, err error) error {
	var own *MFAError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &own):
		return own
	}
	return signInError(err)
}
