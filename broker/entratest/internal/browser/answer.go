package browser

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"
)

// answer fills in the form of a page with what the person has.
func (b *browser) answer(ctx context.Context, pg *page) (*form, url.Values, error) {
	f := &pg.forms[0]
	b.tried[f.id] = true
	v := f.fields
	var err error
	switch f.id {
	case "certauth":
		if b.person.Certificate == nil {
			err = &PageError{Page: f.id, Code: 50076, Text: "the person has no certificate"}
		}
	case "signin":
		return b.answerSignIn(pg, f)
	case "loginForm": // of the federation server
		if b.person.Password == "" {
			err = &PageError{Page: f.id, Text: "the person has no password"}
		}
		v.Set("UserName", b.person.Username)
		v.Set("Password", b.person.Password)
	case "accesspass":
		v.Set("login", b.person.Username)
		v.Set("accesspass", b.person.AccessPass)
	case "passkey":
		var assertion string
		if assertion, err = b.sign(pg); err == nil {
			v.Set("assertion", assertion)
		}
	case "code":
		return b.answerCode(ctx, pg, f)
	case "number-form":
		return b.answerPhone(ctx, pg, f, methodNumber)
	case "call":
		return b.answerPhone(ctx, pg, f, methodVoice)
	case "changepassword":
		err = b.answerChangePassword(f)
	case "securitykey":
		if !b.can(methodKey) {
			return b.switchFactor(pg, f.id, "passkey")
		}
	case "enroll":
		if skip := pg.form("skip"); skip != nil && b.person.OnEnroll == nil {
			return skip, skip.fields, nil
		}
		err = b.answerEnroll(pg, f)
	case "consent", "terms":
		choice := map[string][2]string{"consent": {"accept", "cancel"}, "terms": {"accept", "decline"}}[f.id]
		v.Set(f.id, choice[0])
		if b.person.Deny {
			v.Set(f.id, choice[1])
		}
	case "confirm":
		v.Set("ContinueAuth", "true")
	case "kmsi":
		v.Set("LoginOptions", "3")
	case "usercode", "hiddenform":
	default:
		err = &PageError{Page: f.id, Text: "the person does not know this page: " + pg.title}
	}
	return f, v, err
}

func (b *browser) answerSignIn(pg *page, f *form) (*form, url.Values, error) {
	if cert := pg.form("certauth"); cert != nil && b.person.Certificate != nil && b.person.Password == "" {
		return cert, cert.fields, nil
	}
	way := ""
	switch {
	case b.person.Passkey != nil:
		way = "passkey"
	case b.person.AccessPass != "":
		way = "accesspass"
	case b.person.PhoneSignIn:
		way = "phone"
	}
	f.fields.Set("login", b.person.Username)
	if slices.Contains(f.buttons["credential"], way) {
		f.fields.Set("credential", way)
		return f, f.fields, nil
	}
	if b.person.Password == "" {
		return nil, nil, &PageError{Page: f.id, Text: "the person has no password"}
	}
	f.fields.Set("passwd", b.person.Password)
	return f, f.fields, nil
}

// can reports whether the person has what a second factor needs.
func (b *browser) can(method string) bool {
	p := &b.person
	return map[string]bool{
		methodCode: p.TOTPSecret != "", methodHardware: p.HardwareTOTP != "", methodNumber: p.Approve != nil,
		methodSMS: p.ReadSMS != nil, methodVoice: p.AnswerCall != nil, methodKey: p.Passkey != nil,
	}[method]
}

// switchFactor chooses another second factor on the page, one that the person
// has and has not tried yet.
func (b *browser) switchFactor(pg *page, page, lacks string) (*form, url.Values, error) {
	if m := pg.form("methods"); m != nil {
		for _, id := range m.buttons["switch"] {
			if b.can(id) && !b.tried["switch "+id] {
				b.tried["switch "+id] = true
				m.fields.Set("switch", id)
				return m, m.fields, nil
			}
		}
	}
	if cert := pg.form("certauth"); cert != nil && b.person.Certificate != nil && !b.tried["certauth"] {
		b.tried["certauth"] = true
		return cert, cert.fields, nil
	}
	return nil, nil, &PageError{Page: page, Code: 50076, Text: "the person has no " + lacks}
}

// codeSources names the source of each kind of code.
var codeSources = map[string]string{
	methodCode:     "authenticator app to read a code from",
	methodHardware: "hardware token to read a code from",
	methodSMS:      "phone to read a text message on",
}

func (b *browser) answerCode(ctx context.Context, pg *page, f *form) (*form, url.Values, error) {
	method := f.fields.Get("mfaAuthMethod")
	if !b.can(method) {
		return b.switchFactor(pg, f.id, codeSources[method])
	}
	var code string
	var err error
	switch method {
	case methodSMS:
		if code, err = b.person.ReadSMS(ctx); err != nil {
			err = fmt.Errorf("entratest: sign-in page: %w", err)
		}
	case methodHardware:
		code, err = oneTimeCode(b.person.HardwareTOTP, b.at())
	default:
		code, err = oneTimeCode(b.person.TOTPSecret, b.at())
	}
	f.fields.Set("otc", code)
	return f, f.fields, err
}

// answerPhone answers a prompt on the person's phone, or a call.
func (b *browser) answerPhone(ctx context.Context, pg *page, f *form, method string) (*form, url.Values, error) {
	if !b.can(method) {
		lacks := "authenticator app to type the number into"
		if method == methodVoice {
			lacks = "phone to answer"
		}
		return b.switchFactor(pg, f.id, lacks)
	}
	answer := b.person.AnswerCall
	if method == methodNumber {
		answer = func(ctx context.Context) error { return b.person.Approve(ctx, pg.number) }
	}
	if err := answer(ctx); err != nil {
		return nil, nil, fmt.Errorf("entratest: sign-in page: %w", err)
	}
	return f, f.fields, nil
}

func (b *browser) answerChangePassword(f *form) error {
	p := &b.person
	if p.NewPassword == "" {
		return &PageError{Page: f.id, Code: 50055, Text: "the person must change the password and does not want to"}
	}
	f.fields.Set("oldpasswd", p.Password)
	f.fields.Set("newpasswd", p.NewPassword)
	f.fields.Set("confirmnewpasswd", p.NewPassword)
	return nil
}

func (b *browser) answerEnroll(pg *page, f *form) error {
	if b.person.OnEnroll == nil {
		return &PageError{Page: f.id, Code: 50079, Text: "the person must register an authenticator app and does not want to"}
	}
	b.person.OnEnroll(pg.secret)
	b.person.TOTPSecret = pg.secret
	code, err := oneTimeCode(pg.secret, b.at())
	if err != nil {
		return err
	}
	f.fields.Set("otc", code)
	return nil
}

// at returns the time of the person's authenticator app.
func (b *browser) at() time.Time {
	if b.person.Now != nil {
		return b.person.Now()
	}
	return b.now
}
