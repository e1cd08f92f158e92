package entratest

import (
	"context"
	"fmt"
	"net/url"
	"time"
)

// answer fills in the form of a page, as the person can.
func (b *browser) answer(ctx context.Context, pg *page) (*form, url.Values, error) {
	f := &pg.forms[0]
	b.tried[f.id] = true
	v := f.fields
	var err error
	switch f.id {
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
		if assertion, err = b.assertion(pg); err == nil {
			v.Set("assertion", assertion)
		}
	case "code":
		f, v, err = b.answerCode(pg, f)
	case "number":
		f, v, err = b.answerNumber(ctx, pg, f)
	case "number-form":
		f, v, err = b.answerNumber(ctx, pg, f)
	case "enroll":
		err = b.answerEnroll(pg, f)
	case "consent", "terms":
		choice := map[string][2]string{"consent": {"accept", "cancel"}, "terms": {"accept", "decline"}}[f.id]
		v.Set(f.id, choice[0])
		if b.person.Deny {
			v.Set(f.id, choice[1])
		}
	case "confirm":
		v.Set("confirm", "continue")
	case "kmsi":
		v.Set("LoginOptions", "3")
	case "usercode", "hiddenform":
	default:
		err = &PageError{Page: f.id, Text: "the person does not know this page: " + pg.title}
	}
	return f, v, err
}

func (b *browser) answerSignIn(pg *page, f *form) (*form, url.Values, error) {
	other := pg.form("otherways")
	way := ""
	switch {
	case b.person.Passkey != nil:
		way = "passkey"
	case b.person.AccessPass != "":
		way = "accesspass"
	}
	if way != "" && other != nil {
		other.fields.Set("login", b.person.Username)
		other.fields.Set("credential", way)
		return other, other.fields, nil
	}
	if b.person.Password == "" {
		return nil, nil, &PageError{Page: f.id, Text: "the person has no password"}
	}
	f.fields.Set("login", b.person.Username)
	f.fields.Set("passwd", b.person.Password)
	return f, f.fields, nil
}

// switchTo chooses another second factor on the page.
func switchTo(pg *page, method string) (*form, url.Values, bool) {
	m := pg.form("methods")
	if m == nil {
		return nil, nil, false
	}
	m.fields.Set("switch", method)
	return m, m.fields, true
}

func (b *browser) answerCode(pg *page, f *form) (*form, url.Values, error) {
	if b.person.TOTPSecret == "" {
		if b.person.Approve != nil && !b.tried["switched"] {
			b.tried["switched"] = true
			if m, v, ok := switchTo(pg, methodNumber); ok {
				return m, v, nil
			}
		}
		return nil, nil, &PageError{Page: f.id, Code: 50076, Text: "the person has no authenticator app to read a code from"}
	}
	code, err := TOTP(b.person.TOTPSecret, b.at())
	if err != nil {
		return nil, nil, err
	}
	f.fields.Set("otc", code)
	return f, f.fields, nil
}

func (b *browser) answerNumber(ctx context.Context, pg *page, f *form) (*form, url.Values, error) {
	if b.person.Approve == nil {
		if b.person.TOTPSecret != "" {
			if m, v, ok := switchTo(pg, methodCode); ok {
				return m, v, nil
			}
		}
		return nil, nil, &PageError{Page: f.id, Code: 50076, Text: "the person has no authenticator app to type the number into"}
	}
	if err := b.person.Approve(ctx, pg.number); err != nil {
		return nil, nil, fmt.Errorf("entratest: sign-in page: %w", err)
	}
	return f, f.fields, nil
}

func (b *browser) answerEnroll(pg *page, f *form) error {
	if b.person.OnEnroll == nil {
		return &PageError{Page: f.id, Code: 50079, Text: "the person must register an authenticator app and does not want to"}
	}
	b.person.OnEnroll(pg.secret)
	b.person.TOTPSecret = pg.secret
	code, err := TOTP(pg.secret, b.at())
	if err != nil {
		return err
	}
	f.fields.Set("otc", code)
	return nil
}

// at is the time of the person's authenticator app.
func (b *browser) at() time.Time {
	if b.person.Now != nil {
		return b.person.Now()
	}
	return b.now
}
