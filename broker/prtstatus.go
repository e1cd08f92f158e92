package broker

import (
	"context"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
)

// A PRTStatus describes the PRT of an account that is used first. It holds no
// secret.
type PRTStatus struct {
	Account    Account            `json:"account"`
	State      PRTState           `json:"state"`
	Credential prt.CredentialKind `json:"credential,omitempty"` // what it was born of
	IssuedOn   time.Time          `json:"issuedOn,omitzero"`
	RenewedOn  time.Time          `json:"renewedOn,omitzero"` // equals IssuedOn before the first renewal
	RenewOn    time.Time          `json:"renewOn,omitzero"`   // when it is due for renewal
	ExpiresOn  time.Time          `json:"expiresOn,omitzero"` // unless it is renewed
	DeviceID   string             `json:"deviceId,omitempty"`
	// MFA is what is known about the authentication it carries: whether MFA
	// was done, by what, when, and which token said so.
	MFA claims.Evidence `json:"mfa"`
	// SessionKey says that the state has a session key for it.
	SessionKey bool `json:"sessionKey"`
	// LastError is the AADSTS code that ended it; 0 while it lives.
	LastError int `json:"lastError,omitempty"`
	// Failed is the last attempt to get or to renew a PRT of the account, when it
	// failed; nil after a success.
	Failed *Attempt `json:"failed,omitempty"`
	// Others are the PRTs of the account's other credentials.
	Others []PRTStatus `json:"others,omitempty"`
}

// An Attempt is a failed attempt to get or to renew a PRT, with what `dsregcmd
// /status` tells of one (AcquirePrtDiagnostics, RefreshPrtDiagnostics).
type Attempt struct {
	Time       time.Time          `json:"time"`
	Renewal    bool               `json:"renewal"` // of a PRT; false: a sign-in or an unlock
	Username   string             `json:"username,omitempty"`
	Credential prt.CredentialKind `json:"credential,omitempty"`
	// CorrelationID finds the request in the tenant's sign-in log.
	CorrelationID string `json:"correlationId,omitempty"`
	Endpoint      string `json:"endpoint,omitempty"`
	Method        string `json:"method,omitempty"`
	HTTPError     string `json:"httpError,omitempty"`  // why there was no reply
	HTTPStatus    int    `json:"httpStatus,omitempty"` // 0: there was no reply
	Code          int    `json:"code,omitempty"`       // AADSTS
	ErrorCode     string `json:"errorCode,omitempty"`  // the OAuth error, such as "invalid_grant"
	// Description is what Microsoft's reference says about Code.
	Description string `json:"description,omitempty"`
}

func attemptOf(at *account.Attempt) *Attempt {
	if at == nil {
		return nil
	}
	out := &Attempt{
		Time: at.At, Renewal: at.Renewal, Username: at.Username, Credential: at.Credential, CorrelationID: at.CorrelationID,
		Endpoint: at.Endpoint, Method: at.Method, HTTPError: at.HTTPError, HTTPStatus: at.HTTPStatus, Code: at.Code, ErrorCode: at.OAuth,
	}
	if row, ok := aadsts.Lookup(at.Code); ok {
		out.Description = row.Meaning
	}
	return out
}

// A PRTState says what a PRT is good for.
type PRTState string

// States of a PRT.
const (
	PRTNone             PRTState = "none"              // no PRT
	PRTFresh            PRTState = "fresh"             // usable
	PRTNeedsRenewal     PRTState = "needs renewal"     // usable, and renewed at its next use
	PRTExpired          PRTState = "expired"           // by the clock; it is still tried once
	PRTNeedsInteraction PRTState = "needs interaction" // the service refused it: the user must sign in
)

// PRTStatus says what the account's PRT is and carries, by what is stored; the
// zero Account is the only one. It makes no request.
func (b *Broker) PRTStatus(ctx context.Context, acct Account) (_ PRTStatus, err error) {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return PRTStatus{}, err
	}
	defer leave(&err)
	_, rec, err := b.accountFor(ctx, acct)
	if err != nil {
		return PRTStatus{}, opError("PRT status", err)
	}
	return statusOf(rec, b.cfg.Now()), nil
}

func statusOf(r *account.Record, now time.Time) PRTStatus {
	var all []PRTStatus
	for _, e := range r.Ranked(now) {
		all = append(all, prtStatusOf(e, Account(r.Account), now))
	}
	for _, e := range r.PRTs {
		if e.Dead != nil {
			all = append(all, prtStatusOf(e, Account(r.Account), now))
		}
	}
	if len(all) == 0 {
		return PRTStatus{Account: Account(r.Account), State: PRTNone, Failed: attemptOf(r.Failed)}
	}
	first := all[0]
	first.Failed = attemptOf(r.Failed)
	if len(all) > 1 {
		first.Others = all[1:]
	}
	return first
}

func prtStatusOf(e account.PRT, acct Account, now time.Time) PRTStatus {
	t := e.Token
	s := PRTStatus{
		Account:    acct,
		Credential: t.Credential,
		IssuedOn:   t.IssuedAt,
		RenewedOn:  t.RenewedAt,
		RenewOn:    t.RenewedAt.Add(prt.RenewAfter),
		ExpiresOn:  t.ExpiresAt,
		DeviceID:   t.DeviceID,
		MFA:        t.Evidence,
		SessionKey: len(t.SessionKey) > 0,
	}
	switch {
	case e.Dead != nil:
		s.State, s.LastError = PRTNeedsInteraction, e.Dead.Code
	default:
		s.State = prtState(t.State(now))
	}
	return s
}

func prtState(s prt.State) PRTState {
	switch s {
	case prt.Fresh:
		return PRTFresh
	case prt.NeedsRenewal:
		return PRTNeedsRenewal
	}
	return PRTExpired
}
