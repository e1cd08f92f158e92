package broker

import (
	"context"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
)

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
	// WrongPINs is how many were given since the last right one, and
	// RetryAfter how long the broker takes none because of that. The TPM has a
	// limit of its own, which shows when a PIN is given.
	WrongPINs  int           `json:"wrongPins,omitempty"`
	RetryAfter time.Duration `json:"retryAfter,omitempty"` // nanoseconds in JSON
	// Unfinished says that the registration of a key was begun and not
	// answered: ProvisionHello or ResetPIN takes care of it.
	Unfinished bool `json:"unfinished,omitempty"`
	// Unknown says that the service does not know the key: an administrator or the
	// user removed it there. ProvisionHello makes a new one.
	Unknown bool `json:"unknown,omitempty"`
	// Locked says that Lock put the account away.
	Locked bool `json:"locked,omitempty"`
}

// HelloStatus says what Hello key the account has here; the zero Account is the
// only one. It makes no request and asks the TPM nothing.
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
