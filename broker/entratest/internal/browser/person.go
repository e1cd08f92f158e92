// Package browser is the person in front of the sign-in pages: it reads the forms
// that pages contain and fills them in, over HTTP alone. It shares nothing with the
// pages but what stands in them.
package browser

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/totp"
)

// Person is somebody with a browser. Its fields are documented with the emulator's
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

	// ShowCertificate makes of a transport that is no [*http.Transport] one that
	// shows the Certificate; nil: such a transport shows it itself.
	ShowCertificate func(http.RoundTripper) http.RoundTripper
}

// PageError is a page on which a person could not go on.
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

// Names of second factors, as the pages have them.
const (
	methodCode     = "PhoneAppOTP"
	methodHardware = "HardwareOTP"
	methodNumber   = "PhoneAppNotification"
	methodKey      = "FidoKey"
	methodSMS      = "OneWaySMS"
	methodVoice    = "TwoWayVoiceMobile"
)

// oneTimeCode is the code of an authenticator app with a base32 secret at a time.
func oneTimeCode(secret string, at time.Time) (string, error) {
	raw, err := totp.Secret(secret)
	if err != nil {
		return "", fmt.Errorf("entratest: %w", err)
	}
	return totp.Code(raw, uint64(at.Unix())/totp.Step), nil
}
