package account

import (
	"time"

	"github.com/prtbroker/prtbroker/prt"
)

// An Attempt is a try to get or to renew a PRT that failed. It holds no secret.
type Attempt struct {
	At            time.Time          `json:"at"`
	Renewal       bool               `json:"renewal,omitempty"`
	Username      string             `json:"username,omitempty"`
	Credential    prt.CredentialKind `json:"credential,omitempty"`
	CorrelationID string             `json:"correlationId,omitempty"`
	Endpoint      string             `json:"endpoint,omitempty"`
	Method        string             `json:"method,omitempty"`
	HTTPError     string             `json:"httpError,omitempty"` // why there was no reply
	HTTPStatus    int                `json:"httpStatus,omitempty"`
	Code          int                `json:"code,omitempty"`  // AADSTS
	OAuth         string             `json:"error,omitempty"` // OAuth error
}
