package entratest

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/browser"
)

// Person is a headless human: it fills in the sign-in pages over HTTP as a
// person with a browser would, reading the forms that the pages contain.
type Person struct {
	Username   string
	Password   string // "": the person has none
	TOTPSecret string // base32; "": the person has no authenticator app with codes
	AccessPass string // temporary access pass, preferred when set

	HardwareTOTP string // base32 secret of a hardware token; "": none

	// Certificate signs in with TLS, or is the second factor of a person with a
	// Password; see [Server.IssueUserCertificate]. The client passed to Authorize
	// must have a [*http.Transport] or a [*Transport] as its transport, or one that
	// presents the certificate itself.
	Certificate *tls.Certificate
	// Passkey signs in with WebAuthn, preferred when set.
	Passkey *Passkey
	// Approve answers a number-match prompt that shows number, as the user of
	// the authenticator app would; nil: the person has no such app.
	Approve func(ctx context.Context, number int) error
	// NewPassword replaces an expired password when a page demands it; "": the
	// person does not change the password.
	NewPassword string
	// PhoneSignIn signs in with the authenticator app instead of a password;
	// Approve answers it.
	PhoneSignIn bool
	// ReadSMS reads the code of a text message, and AnswerCall answers the
	// phone; nil: the person has no phone.
	ReadSMS    func(ctx context.Context) (code string, err error)
	AnswerCall func(ctx context.Context) error
	// OnEnroll lets the person register an authenticator app when a page
	// demands it, and receives the base32 secret; nil: the person does not
	// register one.
	OnEnroll func(secret string)
	// Deny declines consent when asked; the default accepts.
	Deny bool

	// Now returns the time of the person's authenticator app. Nil: the Date
	// header of the page, which is the server's time.
	Now func() time.Time
}

// Authorize opens an authorization URL with client, goes through the pages and
// returns the URL, beginning with redirectPrefix, to which the sign-in was
// redirected. It does not follow that redirect. If the person cannot answer a page,
// or a page says that the sign-in failed, the error is a [*PageError].
func (p Person) Authorize(ctx context.Context, client *http.Client, url, redirectPrefix string) (string, error) {
	to, err := p.inside().Authorize(ctx, client, url, redirectPrefix)
	return to, pageError(err)
}

// ApproveDeviceCode enters userCode on the device login page and signs in.
func (p Person) ApproveDeviceCode(ctx context.Context, client *http.Client, userCode string) error {
	return pageError(p.inside().ApproveDeviceCode(ctx, client, userCode))
}

// inside converts the person to that of package browser.
func (p Person) inside() browser.Person {
	return browser.Person{
		Username: p.Username, Password: p.Password, TOTPSecret: p.TOTPSecret, AccessPass: p.AccessPass, HardwareTOTP: p.HardwareTOTP,
		Certificate: p.Certificate, Passkey: (*browser.Passkey)(p.Passkey), Approve: p.Approve, NewPassword: p.NewPassword,
		PhoneSignIn: p.PhoneSignIn, ReadSMS: p.ReadSMS, AnswerCall: p.AnswerCall, OnEnroll: p.OnEnroll, Deny: p.Deny, Now: p.Now,
		ShowCertificate: p.showCertificate,
	}
}

// showCertificate lets a transport of this package show the person's certificate.
func (p Person) showCertificate(rt http.RoundTripper) http.RoundTripper {
	if t, ok := rt.(*Transport); ok && p.Certificate.Leaf != nil {
		return t.WithCertificate(p.Certificate.Leaf)
	}
	return rt
}

// pageError converts an error of package browser to one of this package.
func pageError(err error) error {
	var e *browser.PageError
	if errors.As(err, &e) {
		return (*PageError)(e)
	}
	return err
}
