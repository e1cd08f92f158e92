package session

import (
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
)

// Names of second factors, as on the real pages. Those call a code of a hardware
// token PhoneAppOTP too; here it has a separate name, so that a strength can tell
// the two apart.
const (
	MethodCode     = "PhoneAppOTP"
	MethodHardware = "HardwareOTP"
	MethodNumber   = "PhoneAppNotification"
	MethodKey      = "FidoKey"
	MethodSMS      = "OneWaySMS"
	MethodVoice    = "TwoWayVoiceMobile"
)

// Factor is a second factor.
type Factor struct {
	ID, Label string
	method    claims.Methods
	has       func(*directory.User) bool
}

// factors lists the second factors, best first. A number match in an app that can sign
// in by itself counts as such a sign-in where only that is accepted.
var factors = [...]Factor{
	{MethodNumber, "Approve in your authenticator app", claims.AuthenticatorPush, func(u *directory.User) bool { return u.NumberMatch }},
	{MethodNumber, "Approve in your authenticator app", claims.DeviceBasedPush, func(u *directory.User) bool { return u.PhoneSignIn }},
	{MethodCode, "Use a code from your authenticator app", claims.SoftwareOATH, func(u *directory.User) bool { return u.TOTP != nil }},
	{MethodHardware, "Use a code from your hardware token", claims.HardwareOATH, func(u *directory.User) bool { return u.Hardware != nil }},
	{MethodKey, "Use a passkey", claims.FIDO2, func(u *directory.User) bool { return len(u.Passkeys) > 0 }},
	{MethodSMS, "Get a text message", claims.SMS, func(u *directory.User) bool { return u.Phone != "" }},
	{MethodVoice, "Get a call", claims.Voice, func(u *directory.User) bool { return u.Phone != "" }},
}

// HasSecondFactor reports whether the user has registered anything stronger than
// a password.
func HasSecondFactor(u *directory.User) bool {
	return len(u.Hello) > 0 || u.Certified || u.FederatedMFA() || slices.ContainsFunc(factors[:], func(f Factor) bool { return f.has(u) })
}

// SecondFactors lists the second factors that the user has and that the strength
// required of the flow accepts, best first.
func SecondFactors(u *directory.User, fl *Flow) []Factor {
	var out []Factor
	for _, f := range factors {
		known := slices.ContainsFunc(out, func(g Factor) bool { return g.ID == f.ID })
		if !known && f.has(u) && Allows(fl.Accept, f.method, fl.Session.Methods) {
			out = append(out, f)
		}
	}
	return out
}

// SecondFactor finds one of them by its name.
func SecondFactor(u *directory.User, fl *Flow, id string) (Factor, bool) {
	list := SecondFactors(u, fl)
	i := slices.IndexFunc(list, func(f Factor) bool { return f.ID == id })
	if i < 0 {
		return Factor{}, false
	}
	return list[i], true
}

// Masked hides a telephone number except for its last two digits.
func Masked(phone string) string {
	keep := max(len(phone)-2, 0)
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return 'X'
		}
		return r
	}, phone[:keep]) + phone[keep:]
}

// KindOf returns the kind of prompt that a second factor sends to the phone, if it
// sends one.
func (f Factor) KindOf() (kind PromptKind, sends bool) {
	switch f.ID {
	case MethodNumber:
		return PromptNumber, true
	case MethodSMS:
		return PromptMessage, true
	case MethodVoice:
		return PromptCall, true
	}
	return 0, false
}

// WaitingPrompt returns the flow's prompt of a kind that waits for the user, or nil.
func (k *Keeper) WaitingPrompt(fl *Flow, u *directory.User, kind PromptKind) *Prompt {
	if p := k.Pending.Prompt(fl.Prompt); p != nil && p.Kind == kind && p.User == u.ID && p.Waits(k.Now()) {
		return p
	}
	return nil
}

// PromptFor returns the waiting prompt of a second factor, or a new one, which it
// counts in the flow.
func (k *Keeper) PromptFor(fl *Flow, u *directory.User, kind PromptKind) *Prompt {
	if p := k.WaitingPrompt(fl, u, kind); p != nil {
		return p
	}
	p := k.NewPrompt(u, kind, k.Directory.AppName(fl.Request.Client))
	fl.Prompt = p.ID
	fl.Prompts++
	return p
}

// TakeFactor checks what the user gave as a second factor: a code, or nothing if
// the answer comes from the phone.
func (k *Keeper) TakeFactor(fl *Flow, u *directory.User, id, code string) error {
	f, ok := SecondFactor(u, fl, id)
	if !ok || f.ID == MethodKey {
		return web.InvalidGrant(500121, "Authentication failed during strong authentication request.").Because("%s may not use the method %q here", u.UPN, web.Clip(id))
	}
	if err := k.checkFactor(fl, u, f, code); err != nil {
		return err
	}
	fl.Session.ProveMFA(f.method, k.Now())
	return nil
}

var (
	ErrWrongCode   = web.InvalidGrant(500121, "You didn't enter the expected verification code. Please try again.")
	ErrPromptWaits = web.InvalidGrant(500121, "We are waiting for your approval in the authenticator app.")
	ErrCallWaits   = web.InvalidGrant(500121, "We are calling your phone. Please answer it to continue.")
)

func (k *Keeper) checkFactor(fl *Flow, u *directory.User, f Factor, code string) error {
	now := k.Now()
	switch f.ID {
	case MethodCode, MethodHardware:
		of := codeDevice(codeApp)
		if f.ID == MethodHardware {
			of = codeToken
		}
		if !k.checkTOTP(u, of, code) {
			return ErrWrongCode
		}
		return nil
	case MethodSMS:
		k.Pending.takeMessage(fl.Prompt, code, now)
	}
	kind, _ := f.KindOf()
	if p := k.Pending.Prompt(fl.Prompt); p == nil || p.Kind != kind || p.User != u.ID {
		return web.InvalidGrant(500121, "Authentication failed during strong authentication request.").Because("no prompt was sent to %s", u.UPN)
	}
	switch k.Pending.UsePrompt(fl.Prompt, now) {
	case LoginApproved:
		fl.Prompt = ""
		return nil
	case LoginPending:
		return map[PromptKind]error{PromptNumber: ErrPromptWaits, PromptCall: ErrCallWaits, PromptMessage: ErrWrongCode}[kind]
	case LoginExpired:
		return web.InvalidGrant(500121, "Authentication failed during strong authentication request: it was not answered in time. Please try again.")
	}
	if f.ID == MethodSMS {
		return web.InvalidGrant(500121, "You entered too many wrong codes. Ask for another text message.")
	}
	return web.InvalidGrant(500121, "Authentication failed during strong authentication request.").Because("the prompt to %s was declined or has expired", u.UPN)
}
