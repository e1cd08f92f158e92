package broker

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/prtbroker/prtbroker/claims"
)

// An AuthResult is what a sign-in or a token request gave. Its token is a
// plain string for the caller; printed, logged or marshalled the result shows
// [redacted] in its place.
type AuthResult struct {
	Account Account

	// AccessToken is the token for the app. It is empty after SignIn and
	// Enroll, which give a PRT and no token.
	AccessToken string
	// TokenType is "Bearer".
	TokenType string
	// IDToken is the raw JWT, if the service sent one.
	IDToken string
	// ExpiresOn is when the access token (or, after SignIn, the PRT) ends.
	ExpiresOn time.Time
	// GrantedScopes is shared between results: do not modify it.
	GrantedScopes []string

	Metadata ResultMetadata
}

// ResultMetadata says where a result came from.
type ResultMetadata struct {
	Source TokenSource
	// RefreshOn is when the service wants the token refreshed; zero when it
	// did not say.
	RefreshOn time.Time
	// DeviceID is the device the token was asked with; empty without one.
	DeviceID string
	// CorrelationID names the request in the tenant's sign-in log.
	CorrelationID string
	// MFA is what was known about the PRT when it was used.
	MFA claims.Evidence
	// Encrypted says that the token came encrypted to the PRT's session key, so
	// that no one in between could read it; false also for tokens that did not
	// come from a PRT.
	Encrypted bool
}

// A TokenSource says where a token came from.
type TokenSource uint8

const (
	// SourceCache is the memory or the store: no request was made.
	SourceCache TokenSource = iota + 1
	// SourcePRT is an exchange of the PRT.
	SourcePRT
	// SourceRefreshToken is a plain refresh token, on a machine without a
	// registered device.
	SourceRefreshToken
	// SourceInteractive is a sign-in with the user present.
	SourceInteractive
	// SourceBroker is another broker on this machine, such as one on D-Bus.
	SourceBroker
)

// String returns the source's name.
func (s TokenSource) String() string {
	switch s {
	case SourceCache:
		return "cache"
	case SourcePRT:
		return "prt"
	case SourceRefreshToken:
		return "refresh token"
	case SourceInteractive:
		return "interactive"
	case SourceBroker:
		return "another broker"
	}
	return "none"
}

const redacted = "[redacted]"

// loggable is an AuthResult that may be printed.
type loggable struct {
	Account     Account
	AccessToken string    `json:",omitempty"`
	IDToken     string    `json:",omitempty"`
	ExpiresOn   time.Time `json:",omitzero"`
	Scopes      []string  `json:",omitempty"`
	Source      string
	DeviceID    string `json:",omitempty"`
}

func (r AuthResult) loggable() loggable {
	l := loggable{
		Account:   r.Account,
		ExpiresOn: r.ExpiresOn,
		Scopes:    r.GrantedScopes,
		Source:    r.Metadata.Source.String(),
		DeviceID:  r.Metadata.DeviceID,
	}
	if r.AccessToken != "" {
		l.AccessToken = redacted
	}
	if r.IDToken != "" {
		l.IDToken = redacted
	}
	return l
}

// Format implements [fmt.Formatter] without the tokens.
func (r AuthResult) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, fmt.Sprintf("%+v", r.loggable()))
}

// LogValue implements [slog.LogValuer] without the tokens.
func (r AuthResult) LogValue() slog.Value {
	l := r.loggable()
	return slog.GroupValue(
		slog.String("account", l.Account.PreferredUsername),
		slog.String("source", l.Source),
		slog.Time("expires", l.ExpiresOn),
	)
}

// MarshalJSON implements [json.Marshaler] without the tokens.
func (r AuthResult) MarshalJSON() ([]byte, error) { return json.Marshal(r.loggable()) }
