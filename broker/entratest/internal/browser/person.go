// Package browser simulates a person at the sign-in pages: it reads the forms that
// pages contain and fills them in, over HTTP alone. It shares nothing with the code
// of the pages and knows only what they contain.
package browser

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/totp"
)

// Person is a person with a browser. Its fields are documented with the emulator's
// own.
type Person struct {
	Username     string
	Password     string
	TOTPSecret   string
	AccessPass   string
	HardwareTOTP string
	Certificate  *tls.Certificate
	Passkey      *Passkey
	Approve      func(ctx context.Context, number int) error
	NewPassword  string
	PhoneSignIn  bool
	ReadSMS      func(ctx context.Context) (code string, err error)
	AnswerCall   func(ctx context.Context) error
	OnEnroll     func(secret string)
	Deny         bool
	Now          func() time.Time

	// ShowCertificate wraps a transport that is not a [*http.Transport] so that it
	// presents the Certificate; nil: such a transport presents it itself.
	ShowCertificate func(http.RoundTripper) http.RoundTripper
}

// PageError reports a page that a person could not get past.
type PageError struct {
	Code int
	Text string
	Page string
}

func (e *PageError) Error() string {
	if e.Code == 0 {
		return "entratest: sign-in page: " + e.Text
	}
	return fmt.Sprintf("entratest: sign-in page: AADSTS%d: %s", e.Code, e.Text)
}

// Names of second factors, as the pages use them.
const (
	methodCode     = "PhoneAppOTP"
	methodHardware = "HardwareOTP"
	methodNumber   = "PhoneAppNotification"
	methodKey      = "FidoKey"
	methodSMS      = "OneWaySMS"
	methodVoice    = "TwoWayVoiceMobile"
)

// oneTimeCode returns the code that an authenticator app with a base32 secret shows
// at a time.
func oneTimeCode(secret string, at time.Time) (string, error) {
	raw, err := totp.Secret(secret)
	if err != nil {
		return "", fmt.Errorf("entratest: %w", err)
	}
	return totp.Code(raw, uint64(at.Unix())/totp.Step), nil
}
