package broker

import (
	"context"
	"errors"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

// A Status is the state of device, tenant, user and sign-on as it is stored
// here, in the sections of `dsregcmd /status`. It holds no secret. String
// prints it in that layout; JSON has the same facts.
type Status struct {
	// Registered says that the registration is here and complete. Device is
	// zero when it is not.
	Registered bool      `json:"registered"`
	Device     Device    `json:"device"`
	Tenant     Tenant    `json:"tenant"`
	Protection tpm.Info  `json:"protection"`
	Accounts   []Account `json:"accounts"`
	// PRTs has one entry for each account.
	PRTs []PRTStatus `json:"prts"`
	// Failed is the last failed sign-in, in this process, of a user who has no
	// account here; nil after a success.
	Failed *Attempt `json:"failed,omitempty"`
	// Hello has one entry for each account with a Hello key.
	Hello []HelloStatus `json:"hello,omitempty"`
	// Problem says why the state could not be read whole; empty when it was.
	Problem string    `json:"problem,omitempty"`
	Time    time.Time `json:"time"` // when this was asked
}

// A Tenant holds the addresses of the tenant's services, as discovery gave them
// at the registration. A field that discovery did not give is empty.
type Tenant struct {
	ID           string          `json:"id"`                           // a GUID
	Name         string          `json:"name,omitempty"`               // a domain
	Idp          string          `json:"idp"`                          // as [Account].Environment
	AuthCodeURL  string          `json:"authCodeUrl,omitempty"`        // authorization endpoint
	TokenURL     string          `json:"accessTokenUrl,omitempty"`     // token endpoint
	Join         ServiceEndpoint `json:"joinSrv,omitzero"`             // device registration
	Key          ServiceEndpoint `json:"keySrv,omitzero"`              // registration of Hello keys
	WebAuthN     ServiceEndpoint `json:"webAuthNSrv,omitzero"`         // registration of passkeys
	Manage       ServiceEndpoint `json:"deviceManagementSrv,omitzero"` // device management
	PRTAuthority string          `json:"prtAuthority,omitempty"`       // where PRTs are requested: login host and tenant id
}

// A ServiceEndpoint is a service of the registration host.
type ServiceEndpoint struct {
	Version string `json:"version,omitempty"` // such as "2.0"
	URL     string `json:"url,omitempty"`
	ID      string `json:"id,omitempty"` // the resource that tokens for it name, such as "urn:ms-drs:…"
}

// Status reports what `dsregcmd /status` shows, and what protects the keys. It
// makes no request, so it cannot tell whether the service still accepts the
// device. A state that cannot be read is described, not an error.
func (b *Broker) Status(ctx context.Context) (_ Status, err error) {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return Status{}, err
	}
	defer leave(&err)
	s := Status{Time: b.cfg.Now(), Failed: attemptOf(b.engine.Failed()), Accounts: []Account{}, PRTs: []PRTStatus{}}
	info, err := b.cfg.Keys.Info(ctx)
	if err != nil {
		return s, opError("status", keyError("status", err))
	}
	s.Protection = info
	d, err := b.devices.Current(ctx)
	switch {
	case err == nil:
		s.Registered, s.Device, s.Tenant = true, *deviceOf(d), b.tenant(d.Record)
	case ctx.Err() != nil:
		return s, ctx.Err()
	case !errors.Is(err, device.ErrNone):
		s.Problem = err.Error()
	}
	all, unreadable, err := b.book.All(ctx)
	if err = errors.Join(err, unreadable); err != nil {
		if ctx.Err() != nil {
			return s, ctx.Err()
		}
		s.Problem = err.Error()
	}
	for _, a := range all {
		if rec := a.Record(); rec != nil {
			s.Accounts = append(s.Accounts, Account(rec.Account))
			s.PRTs = append(s.PRTs, statusOf(rec, s.Time))
			if h := helloStatus(rec, s.Time); h.Set {
				s.Hello = append(s.Hello, h)
			}
		}
	}
	return s, nil
}

func (b *Broker) tenant(r *device.Record) Tenant {
	e := r.Endpoints
	t := Tenant{
		ID:           r.TenantID,
		Name:         e.TenantName,
		Idp:          b.cloud().Environment,
		AuthCodeURL:  e.AuthCode,
		TokenURL:     e.Token,
		Join:         ServiceEndpoint{e.JoinVersion, e.Join, e.JoinResource},
		Key:          ServiceEndpoint{e.KeyVersion, e.Key, e.KeyResource},
		WebAuthN:     ServiceEndpoint{e.WebAuthNVersion, e.WebAuthN, e.WebAuthNID},
		Manage:       ServiceEndpoint{e.ManageVersion, e.Manage, e.ManageID},
		PRTAuthority: "https://" + b.cloud().LoginHost + "/" + r.TenantID,
	}
	if t.Name == "" && len(r.TenantNames) > 0 {
		t.Name = r.TenantNames[0]
	}
	return t
}

// A PRTStatus describes the PRT of an account that would be used first. It
// holds no secret.
type PRTStatus struct {
	Account    Account            `json:"account"`
	State      PRTState           `json:"state"`
	Credential prt.CredentialKind `json:"credential,omitempty"` // what it was obtained with
	IssuedOn   time.Time          `json:"issuedOn,omitzero"`    // the sign-in: renewals do not change it
	RenewedOn  time.Time          `json:"renewedOn,omitzero"`   // equals IssuedOn before the first renewal
	RenewOn    time.Time          `json:"renewOn,omitzero"`     // when it is due for renewal: [prt.RenewAfter] after RenewedOn
	ExpiresOn  time.Time          `json:"expiresOn,omitzero"`   // unless it is renewed: as the service says, or [prt.IdleLife] after RenewedOn
	DeviceID   string             `json:"deviceId,omitempty"`   // the device that it is bound to
	// MFA is what is known about the authentication it carries: whether MFA
	// was done, by what, when, and which token said so.
	MFA claims.Evidence `json:"mfa"`
	// SessionKey says that the state has a session key for it.
	SessionKey bool `json:"sessionKey"`
	// LastError is the AADSTS code that ended it; 0 while it lives.
	LastError int `json:"lastError,omitempty"`
	// Failed is the last failed attempt to get or to renew a PRT of the account;
	// nil after a success.
	Failed *Attempt `json:"failed,omitempty"`
	// Others are the PRTs of the account's other credentials.
	Others []PRTStatus `json:"others,omitempty"`
}

// An Attempt is a failed attempt to get or to renew a PRT, with what `dsregcmd
// /status` shows about one (AcquirePrtDiagnostics, RefreshPrtDiagnostics).
type Attempt struct {
	Time       time.Time          `json:"time"`
	Renewal    bool               `json:"renewal"` // of a PRT; false: a sign-in or an unlock
	Username   string             `json:"username,omitempty"`
	Credential prt.CredentialKind `json:"credential,omitempty"`
	// CorrelationID finds the request in the tenant's sign-in log.
	CorrelationID string `json:"correlationId,omitempty"`
	Endpoint      string `json:"endpoint,omitempty"`   // URL of the request
	Method        string `json:"method,omitempty"`     // HTTP method
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

// A PRTState says whether a PRT can be used.
type PRTState string

// States of a PRT.
const (
	PRTNone             PRTState = "none"              // no PRT
	PRTFresh            PRTState = "fresh"             // usable
	PRTNeedsRenewal     PRTState = "needs renewal"     // usable, and renewed at its next use
	PRTExpired          PRTState = "expired"           // by the clock; it is still tried once
	PRTNeedsInteraction PRTState = "needs interaction" // the service refused it: the user must sign in
)

// PRTStatus returns the state of the account's PRT and what it carries, as
// stored; the zero Account means the only one. It makes no request.
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
	first.Failed, first.Others = attemptOf(r.Failed), all[1:]
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

// A HelloStatus describes the Hello key of an account on this device. It holds
// no secret.
type HelloStatus struct {
	Account Account `json:"account"`
	Set     bool    `json:"set"`
	// KeyID is the service's id of the key, a GUID.
	KeyID   string    `json:"keyId,omitempty"`
	Created time.Time `json:"created,omitzero"`
	// Software says that no TPM holds the key, so that nothing but the broker
	// counts wrong PINs (Config.InsecureSoftwareHello).
	Software bool `json:"software,omitempty"`
	// WrongPINs is how many wrong PINs were entered since the last right one, and
	// RetryAfter how long the broker tries none because of that: a minute after the
	// fifth, then twice as long each time, up to an hour. The TPM has a limit of its
	// own, which shows when a PIN is entered.
	WrongPINs  int           `json:"wrongPins,omitempty"`
	RetryAfter time.Duration `json:"retryAfter,omitempty"` // nanoseconds in JSON
	// Unfinished says that the registration of a key was begun and got no answer:
	// ProvisionHello or ResetPIN takes care of it.
	Unfinished bool `json:"unfinished,omitempty"`
	// Unknown says that the service does not know the key: an administrator or the
	// user removed it there. ProvisionHello makes a new one.
	Unknown bool `json:"unknown,omitempty"`
	// Locked says that the account is locked (Lock).
	Locked bool `json:"locked,omitempty"`
}

// HelloStatus describes the account's Hello key on this device; the zero
// Account means the only one. It makes no request and sends the TPM no command.
func (b *Broker) HelloStatus(ctx context.Context, acct Account) (_ HelloStatus, err error) {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return HelloStatus{}, err
	}
	defer leave(&err)
	_, rec, err := b.accountFor(ctx, acct)
	if err != nil {
		return HelloStatus{}, opError("Hello status", err)
	}
	return helloStatus(rec, b.cfg.Now()), nil
}

func helloStatus(r *account.Record, now time.Time) HelloStatus {
	s := HelloStatus{Account: Account(r.Account), Unfinished: r.NextHello != nil, Locked: r.Locked()}
	if h := r.Hello; h != nil {
		s.Set, s.KeyID, s.Created, s.Software = true, h.ID, h.Created, h.Software
		s.WrongPINs, s.RetryAfter, s.Unknown = h.Wrong, h.Wait(now), h.Unknown()
	}
	return s
}
