package prt

import (
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/clock"
	"github.com/prtbroker/prtbroker/internal/secret"
)

// Lifetime of a PRT (the Entra documentation of the Primary Refresh Token).
const (
	RenewAfter  = 4 * time.Hour       // renewed when in use and older than this
	IdleLife    = 14 * 24 * time.Hour // lifetime without a renewal, if the reply does not say
	RollingLife = 90 * 24 * time.Hour // maximum age for a renewal, if the reply does not say
)

// A State is where a PRT is in its life.
type State uint8

const (
	// Fresh: use it. It is not the zero value: a zero Token is Expired.
	Fresh State = iota + 1
	// NeedsRenewal: use it, and renew it first or meanwhile.
	NeedsRenewal
	// Expired: by the local clock; the service has the last word, so try to
	// renew it before giving it up.
	Expired
)

// String returns "fresh", "needs renewal" or "expired".
func (s State) String() string {
	switch s {
	case Fresh:
		return "fresh"
	case NeedsRenewal:
		return "needs renewal"
	case Expired:
		return "expired"
	}
	return "invalid"
}

// A Token is a Primary Refresh Token and what the client knows about it. It is
// a value that its owner keeps sealed; marshal it with [Token.Marshal].
type Token struct {
	PRT      Secret   // the token itself, opaque
	Protocol Protocol // the protocol version of its issuance
	KDF      int      // KDFv1 or KDFv2, for good
	ClientID string   // the client that it was issued to

	TenantID string // the user's tenant
	UserID   string // the user's object id there
	HomeID   string // the user's key in the home tenant, "uid.utid" of client_info; for a guest it differs from UserID and TenantID; empty: those two
	Username string // the user's UPN
	Name     string // the user's display name
	DeviceID string // the device that it is bound to; the caller sets it

	Credential CredentialKind  // what it was obtained with
	Evidence   claims.Evidence // how strongly the user was authenticated

	IssuedAt  time.Time // the first issuance: renewals do not change it
	RenewedAt time.Time // the last renewal, or the first issuance
	UsedAt    time.Time // the last use; the caller sets it
	ExpiresAt time.Time // when it expires if it is not renewed

	// SessionKey is the blob that the key store opens to the session key; the
	// caller sets it. SessionKeyAt is when that key was issued.
	SessionKey   []byte
	SessionKeyAt time.Time

	TGTs          []TGT
	TopLevelNames string // names that Kerberos serves, separated by commas

	extra secret.Value // members that a newer version wrote, a JSON object
}

// HomeAccountID returns the key of the account: HomeID or, where that is empty,
// UserID and TenantID.
func (t *Token) HomeAccountID() string {
	if t.HomeID != "" {
		return t.HomeID
	}
	return claims.ClientInfo{UID: t.UserID, UTID: t.TenantID}.HomeAccountID()
}

// State returns where the PRT is in its life at now.
func (t *Token) State(now time.Time) State {
	switch {
	case t.PRT.IsZero(), clock.Left(t.ExpiresAt, now) <= 0:
		return Expired
	case clock.Left(t.RenewedAt.Add(RenewAfter), now) <= 0, now.Before(t.RenewedAt.Add(-clockSkew)):
		return NeedsRenewal
	}
	return Fresh
}

// clockSkew is how far in the future a time may lie before it is rejected: a
// PRT renewed "tomorrow" was renewed under another clock.
const clockSkew = 5 * time.Minute

// Session returns the session of the PRT over its opened session key.
func (t *Token) Session(key SessionKey) Session { return Session{Key: key, KDF: t.KDF} }

func newToken(r *Reply, req PRTRequest, now time.Time) *Token {
	t := &Token{
		PRT:           r.RefreshToken,
		Protocol:      req.Protocol,
		KDF:           req.kdf(),
		ClientID:      req.clientID(),
		TenantID:      strings.ToLower(r.ClientInfo.UTID),
		UserID:        strings.ToLower(r.ClientInfo.UID),
		HomeID:        r.ClientInfo.HomeAccountID(),
		IssuedAt:      now,
		RenewedAt:     now,
		UsedAt:        now,
		SessionKeyAt:  now,
		TGTs:          r.TGTs,
		TopLevelNames: r.TopLevelNames,
	}
	if req.Grant != nil {
		t.Credential = req.Grant.credential()
	}
	t.ExpiresAt = t.expiry(r, now)
	t.identify(r.ID)
	t.Evidence = issued(t.Credential, r.ID, now)
	return t
}

func (t *Token) identify(id *claims.Token) {
	if id == nil {
		return
	}
	t.TenantID = first(strings.ToLower(id.TenantID), t.TenantID)
	t.UserID = first(strings.ToLower(id.ObjectID), t.UserID)
	t.Username = first(id.Username, t.Username)
	t.Name = first(id.Name, t.Name)
}

// expiry returns when the PRT expires if it is not renewed again, according to
// the reply, whose relative number comes first: it needs no synchronised
// clocks.
func (t *Token) expiry(r *Reply, now time.Time) time.Time {
	switch {
	case r.RefreshExpiresIn > 0:
		return now.Add(r.RefreshExpiresIn)
	case r.ExpiresIn > 0:
		return now.Add(r.ExpiresIn)
	case !r.ExpiresOn.IsZero():
		return r.ExpiresOn
	}
	idle, rolling := now.Add(IdleLife), t.IssuedAt.Add(RollingLife)
	if rolling.Before(idle) {
		return rolling
	}
	return idle
}

// issued returns the evidence of a PRT at its issuance. The service's word is
// the id_token. If that says nothing, two credentials speak for themselves: a
// Hello key is two factors, and a password alone is one.
func issued(by CredentialKind, id *claims.Token, now time.Time) claims.Evidence {
	var e claims.Evidence
	if id != nil {
		e = id.Evidence(claims.SourcePRT)
	}
	switch by {
	case ByHello:
		e.AuthTime = now
		if e.MFA == claims.Unknown {
			e.MFA = claims.Yes
		}
		if e.MFA == claims.Yes {
			e.At, e.Source = now, claims.SourceHello
			e.Methods |= claims.WindowsHello
		}
	case ByPassword:
		e.AuthTime = now
		if e.MFA == claims.Unknown {
			e.MFA, e.Methods, e.Source = claims.No, claims.Password, claims.SourcePRT
		}
	case ByCertificate:
		e.AuthTime = now
		if e.MFA == claims.Yes {
			e.At, e.Source = now, claims.SourceCertificate
		}
	case ByRefreshToken:
		// The sign-in was when the refresh token was obtained, which only
		// auth_time tells.
		if e.Source == claims.SourcePRT {
			e.Source = claims.SourceRefresh
		}
	}
	return e
}

// Renewed returns the successor of t after r, the reply to a [RenewRequest] or
// to an [ExchangeRequest] that rolls, came at now. The expiry changes; the time
// of issuance, the credential and the times of the evidence do not. If the
// reply rolled the session key, SessionKey is nil and the caller sets it from
// the reply's WrappedSessionKey before it saves the pair as one.
func (t *Token) Renewed(r *Reply, now time.Time) (*Token, error) {
	if r.RefreshToken.IsZero() {
		return nil, badReply("no PRT")
	}
	if err := t.same(r); err != nil {
		return nil, err
	}
	n := *t
	n.PRT, n.RenewedAt, n.UsedAt = r.RefreshToken, now, now
	n.ExpiresAt = n.renewedExpiry(r, now)
	n.identify(r.ID)
	if r.ID != nil {
		n.Evidence = t.Evidence.Merge(r.ID.Evidence(claims.SourceRenewal))
	}
	if r.WrappedSessionKey != nil {
		n.SessionKey, n.SessionKeyAt = nil, now
	}
	// A reply that only says why it has no ticket does not remove the old ones.
	if len(t.TGTs) == 0 || slices.ContainsFunc(r.TGTs, TGT.Usable) {
		n.TGTs = r.TGTs
	}
	n.TopLevelNames = first(r.TopLevelNames, n.TopLevelNames)
	return &n, nil
}

// renewedExpiry is expiry for a reply whose expires_in may be an access
// token's, as when an exchange rolled the PRT.
func (t *Token) renewedExpiry(r *Reply, now time.Time) time.Time {
	if r.AccessToken.IsZero() {
		return t.expiry(r, now)
	}
	return t.expiry(&Reply{RefreshExpiresIn: r.RefreshExpiresIn}, now)
}

// same refuses a renewal for a different user, judged by its id_token or, if it
// has none, by client_info.
func (t *Token) same(r *Reply) error {
	id, home := r.ID, r.ClientInfo.HomeAccountID()
	switch {
	case id == nil && (home == "" || t.HomeID == "" || strings.EqualFold(home, t.HomeID)):
		return nil
	case id == nil,
		t.UserID != "" && id.ObjectID != "" && !strings.EqualFold(t.UserID, id.ObjectID),
		t.TenantID != "" && id.TenantID != "" && !strings.EqualFold(t.TenantID, id.TenantID):
		return badReply("the renewed PRT belongs to another user")
	}
	return nil
}
