package entratest

import (
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/claims"
)

// Names of second factors, as the real pages have them. The real ones call a
// code of a hardware token PhoneAppOTP too; here it has a name of its own, so
// that a strength can tell the two apart.
const (
	methodCode     = "PhoneAppOTP"
	methodHardware = "HardwareOTP"
	methodNumber   = "PhoneAppNotification"
	methodKey      = "FidoKey"
	methodSMS      = "OneWaySMS"
	methodVoice    = "TwoWayVoiceMobile"
)

// factor is a second factor.
type factor struct {
	id, label string
	method    claims.Methods
	has       func(*directory.User) bool
}

// factors lists them, best first. A number match of somebody whose app signs
// in by itself counts as that, where only that is accepted.
var factors = [...]factor{
	{methodNumber, "Approve in your authenticator app", claims.AuthenticatorPush, func(u *directory.User) bool { return u.NumberMatch }},
	{methodNumber, "Approve in your authenticator app", claims.DeviceBasedPush, func(u *directory.User) bool { return u.PhoneSignIn }},
	{methodCode, "Use a code from your authenticator app", claims.SoftwareOATH, func(u *directory.User) bool { return u.TOTP != nil }},
	{methodHardware, "Use a code from your hardware token", claims.HardwareOATH, func(u *directory.User) bool { return u.Hardware != nil }},
	{methodKey, "Use a passkey", claims.FIDO2, func(u *directory.User) bool { return len(u.Passkeys) > 0 }},
	{methodSMS, "Get a text message", claims.SMS, func(u *directory.User) bool { return u.Phone != "" }},
	{methodVoice, "Get a call", claims.Voice, func(u *directory.User) bool { return u.Phone != "" }},
}

// hasSecondFactor reports whether the user registered anything stronger than
// a password.
func hasSecondFactor(u *directory.User) bool {
	return len(u.Hello) > 0 || u.Certified || u.FederatedMFA() || slices.ContainsFunc(factors[:], func(f factor) bool { return f.has(u) })
}

// secondFactors lists what the user can be asked for, best first, within what
// the strength that the flow has to satisfy accepts.
func secondFactors(u *directory.User, fl *flow) []factor {
	var out []factor
	for _, f := range factors {
		known := slices.ContainsFunc(out, func(g factor) bool { return g.id == f.id })
		if !known && f.has(u) && allows(fl.Accept, f.method, fl.Session.Methods) {
			out = append(out, f)
		}
	}
	return out
}

// secondFactor finds one of them by its name.
func secondFactor(u *directory.User, fl *flow, id string) (factor, bool) {
	list := secondFactors(u, fl)
	i := slices.IndexFunc(list, func(f factor) bool { return f.id == id })
	if i < 0 {
		return factor{}, false
	}
	return list[i], true
}

// proofsOf is how the pages' configuration lists second factors.
func proofsOf(u *directory.User, fl *flow) []map[string]any {
	out := []map[string]any{}
	for i, f := range secondFactors(u, fl) {
		display := f.label
		if f.id == methodSMS || f.id == methodVoice {
			display = masked(u.Phone)
		}
		out = append(out, map[string]any{"authMethodId": f.id, "data": f.id, "display": display, "isDefault": i == 0})
	}
	return out
}

// masked hides a telephone number but for its last two digits.
func masked(phone string) string {
	keep := max(len(phone)-2, 0)
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return 'X'
		}
		return r
	}, phone[:keep]) + phone[keep:]
}

// kindOf is the kind of prompt that a second factor sends to the phone.
func (f factor) kindOf() (kind promptKind, sends bool) {
	switch f.id {
	case methodNumber:
		return promptNumber, true
	case methodSMS:
		return promptMessage, true
	case methodVoice:
		return promptCall, true
	}
	return 0, false
}

// waitingPrompt is the flow's prompt of a kind that waits for the user; nil:
// none does.
func (s *Server) waitingPrompt(fl *flow, u *directory.User, kind promptKind) *prompt {
	if p := s.flow.prompt(fl.Prompt); p != nil && p.kind == kind && p.user == u.ID && p.waits(s.Now()) {
		return p
	}
	return nil
}

// promptFor is the prompt of a second factor that waits, or a new one, which
// counts.
func (s *Server) promptFor(fl *flow, u *directory.User, kind promptKind) *prompt {
	if p := s.waitingPrompt(fl, u, kind); p != nil {
		return p
	}
	p := s.newPrompt(u, kind, s.AppName(fl.Request.Client))
	fl.Prompt = p.id
	fl.Prompts++
	return p
}

// takeFactor checks what the user gave for a second factor: a code, or
// nothing where the phone was asked.
func (s *Server) takeFactor(fl *flow, u *directory.User, id, code string) error {
	f, ok := secondFactor(u, fl, id)
	if !ok || f.id == methodKey {
		return invalidGrant(500121, "Authentication failed during strong authentication request.").because("%s may not use the method %q here", u.UPN, clip(id))
	}
	if err := s.checkFactor(fl, u, f, code); err != nil {
		return err
	}
	fl.Session.mfa(f.method, s.Now())
	return nil
}

var (
	errWrongCode   = invalidGrant(500121, "You didn't enter the expected verification code. Please try again.")
	errPromptWaits = invalidGrant(500121, "We are waiting for your approval in the authenticator app.")
	errCallWaits   = invalidGrant(500121, "We are calling your phone. Please answer it to continue.")
)

func (s *Server) checkFactor(fl *flow, u *directory.User, f factor, code string) error {
	now := s.Now()
	switch f.id {
	case methodCode, methodHardware:
		of := codeDevice(codeApp)
		if f.id == methodHardware {
			of = codeToken
		}
		if !s.checkTOTP(u, of, code) {
			return errWrongCode
		}
		return nil
	case methodSMS:
		s.flow.takeMessage(fl.Prompt, code, now)
	}
	kind, _ := f.kindOf()
	if p := s.flow.prompt(fl.Prompt); p == nil || p.kind != kind || p.user != u.ID {
		return invalidGrant(500121, "Authentication failed during strong authentication request.").because("no prompt was sent to %s", u.UPN)
	}
	switch s.flow.usePrompt(fl.Prompt, now) {
	case loginApproved:
		fl.Prompt = ""
		return nil
	case loginPending:
		return map[promptKind]error{promptNumber: errPromptWaits, promptCall: errCallWaits, promptMessage: errWrongCode}[kind]
	case loginExpired:
		return invalidGrant(500121, "Authentication failed during strong authentication request: it was not answered in time. Please try again.")
	}
	if f.id == methodSMS {
		return invalidGrant(500121, "You entered too many wrong codes. Ask for another text message.")
	}
	return invalidGrant(500121, "Authentication failed during strong authentication request.").because("the prompt of %s was declined or is over", u.UPN)
}
