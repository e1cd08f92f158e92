package why

import (
	"time"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/prt"
)

// An Observation is what the service did with one token request: an entry of the
// local sign-in log, which explains after the fact why the user was, or was
// not, asked. It holds no secret.
type Observation struct {
	Time          time.Time          `json:"time"`
	ClientID      string             `json:"clientId"`
	Resource      string             `json:"resource,omitempty"`
	Outcome       Outcome            `json:"outcome"`
	Code          int                `json:"code,omitempty"`    // AADSTS
	Verdict       string             `json:"verdict,omitempty"` // as in broker.Error
	Claims        string             `json:"claims,omitempty"`  // what the service asked for
	Credential    prt.CredentialKind `json:"credential,omitempty"`
	MFA           claims.Answer      `json:"mfa"` // what the PRT carried
	MFAOn         time.Time          `json:"mfaOn,omitzero"`
	CorrelationID string             `json:"correlationId,omitempty"`
}

// An Outcome is how a token request ended.
type Outcome string

// Outcomes of a token request.
const (
	OutcomeSilent  Outcome = "silent"  // a token, and the user was not asked
	OutcomeAsked   Outcome = "asked"   // the service wants the user
	OutcomeRefused Outcome = "refused" // an error that the user cannot change
	OutcomeFailed  Outcome = "failed"  // the network or a temporary failure
)
