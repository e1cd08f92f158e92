package webflow

import (
	"fmt"
	"io"
	"log/slog"
	"time"
)

// A Kind says what a sign-in is waiting for.
type Kind string

// Kinds of challenges.
const (
	// Done: the sign-in is complete; [Flow.Tokens] has the result.
	Done Kind = "done"
	// Password: the user's password, as Answer.Password.
	Password Kind = "password"
	// AccessPass: a temporary access pass, as Answer.Code.
	AccessPass Kind = "access pass"
	// NewPassword: the password is correct but has expired. Answer.Password is
	// the old one, which the flow does not keep, and Answer.NewPassword the new
	// one.
	NewPassword Kind = "new password"
	// Code: a code from an authenticator app, a hardware token or a text message,
	// as Answer.Code.
	Code Kind = "code"
	// Number: the user types Challenge.Number into the authenticator app. The
	// program polls.
	Number Kind = "number"
	// Push: the user approves in the authenticator app. The program polls.
	Push Kind = "push"
	// Call: the user answers a telephone call. The program polls.
	Call Kind = "call"
	// SecurityKey: Challenge.Fido goes to an [Authenticator], whose result is
	// Answer.Assertion.
	SecurityKey Kind = "security key"
)

// Polls reports whether the user answers on another device, so that the program
// has to poll: with [Flow.Wait], or with Answer.Poll every PollEvery.
func (k Kind) Polls() bool { return k == Number || k == Push || k == Call }

// Ids of the methods that can begin a sign-in ([Method]). Second factors have the
// service's own ids, such as PhoneAppNotification, PhoneAppOTP, OneWaySMS or
// FidoKey.
const (
	MethodPassword   = "Password"
	MethodAccessPass = "AccessPass"
	MethodPhone      = "PhoneSignIn" // the authenticator app in place of a password
	MethodKey        = "FidoKey"     // a security key, as first or as second factor
)

// A Method is an alternative to the current method. Answer.Choice selects it.
type Method struct {
	ID    string // as the service names it, for Answer.Choice
	Label string // in English, for people
}

// A Challenge is what the sign-in is waiting for.
type Challenge struct {
	Kind Kind
	// Method is the id of the method that the challenge belongs to, as in
	// Method.ID.
	Method string
	// Message says in English what the user has to do.
	Message string
	// Number is what the user types into the app; 0: none.
	Number int
	// PollEvery is how long to wait between two polls, and MaxPolls is how often
	// it makes sense to poll. Both are zero if Kind.Polls is false.
	PollEvery time.Duration
	MaxPolls  int
	// Methods are the other methods that the user can choose.
	Methods []Method
	// Fido is what a security key signs; nil for other kinds.
	Fido *KeyRequest
}

// An Answer answers a challenge. Set what the kind of the challenge names, or
// Poll, or Choice. Formatting an Answer does not reveal its secrets, and a flow
// keeps none of them.
type Answer struct {
	Password    string
	NewPassword string
	Code        string
	Assertion   *Assertion
	// Poll asks once whether the user has answered. Until then the same challenge
	// is returned.
	Poll bool
	// Choice is the id of another method.
	Choice string
}

const redacted = "[redacted]"

// Format implements [fmt.Formatter] without revealing the contents.
func (Answer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "Answer{"+redacted+"}") }

// LogValue implements [slog.LogValuer] without revealing the contents.
func (Answer) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler] without revealing the contents.
func (Answer) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// A factor describes a method: its kind of challenge and its texts.
type factor struct {
	kind           Kind
	label, message string
}

// factors are the second factors that the pages name. The service does not use
// HardwareOTP: it calls a hardware token PhoneAppOTP too.
var factors = map[string]factor{
	"PhoneAppNotification":       {Push, "Approve in the authenticator app", "Approve the sign-in in your authenticator app."},
	"CompanionAppsNotification":  {Push, "Approve in Outlook or another companion app", "Approve the sign-in in your companion app."},
	"PhoneAppOTP":                {Code, "Code of an authenticator app or a token", "Enter the code of your authenticator app or token."},
	"HardwareOTP":                {Code, "Code of a hardware token", "Enter the code of your hardware token."},
	"OneWaySMS":                  {Code, "Text message", "Enter the code of the text message."},
	"ConsolidatedTelephony":      {Code, "Text message", "Enter the code of the text message."},
	"TwoWayVoiceMobile":          {Call, "Call", "Answer the call to your phone."},
	"TwoWayVoiceAlternateMobile": {Call, "Call to the other phone", "Answer the call to your other phone."},
	"TwoWayVoiceOffice":          {Call, "Call to the office phone", "Answer the call to your office phone."},
	MethodKey:                    {SecurityKey, "Security key", "Use your security key."},
}

// firsts are the methods that can begin a sign-in.
var firsts = map[string]factor{
	MethodPassword:   {Password, "Password", "Enter your password."},
	MethodAccessPass: {AccessPass, "Temporary access pass", "Enter your temporary access pass."},
	MethodPhone:      {Number, "Authenticator app in place of a password", ""},
	MethodKey:        {SecurityKey, "Security key", "Use your security key."},
}

func numberMessage(n int) string {
	return fmt.Sprintf("Open your authenticator app and enter the number %d.", n)
}
