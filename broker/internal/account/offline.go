package account

import (
	"bytes"
	"sync/atomic"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/vault"
)

const offlinePurpose = "prtbroker offline key 2 "

// A SealedOffline is the offline key, sealed under the PIN.
type SealedOffline struct {
	ID     string `json:"id"` // of the key, random; it stays when the key is sealed again
	Sealed []byte `json:"sealed"`
}

// Offline is the open offline key of an account: it seals what Lock puts away and
// the tokens that are kept, and is held like a data key.
type Offline struct {
	vault *vault.Vault // seals under the offline key
	ID    string

	sealedAt atomic.Pointer[time.Time] // when this process sealed it; nil: it did not
}

// awaySuffix names what Lock put away among what the offline key seals.
const awaySuffix = ".away"

// awayRecord is what Lock put away.
type awayRecord struct {
	Version int   `json:"v"`
	PRTs    []PRT `json:"prts"`
}

// Offline returns the open offline key; nil when it is not open here.
func (a *Account) Offline() *Offline {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.offline
}

// HoldOffline keeps the open offline key in place of the previous one, which is
// forgotten; nil keeps none. It returns the key that is held: another call may
// have opened the same key first, and that one is in use.
func (a *Account) HoldOffline(o *Offline) *Offline {
	a.mu.Lock()
	held := a.offline
	drop := held
	switch {
	case a.sessions == nil: // closed meanwhile
		a.offline, drop = nil, o
		if held != nil {
			held.vault.Close()
		}
	case o != nil && held != nil && o.ID == held.ID:
		drop = o
	default:
		a.offline = o
	}
	now := a.offline
	a.mu.Unlock()
	if drop != nil {
		drop.vault.Close()
	}
	return now
}

// newOffline returns an offline key, new or just opened, with its id.
func (a *Account) newOffline(key []byte, id string) *Offline {
	return &Offline{vault: a.vault.Beside(key), ID: id}
}

// offlineAAD binds a sealed offline key to the account and to its id.
func (a *Account) offlineAAD(id string) []byte { return []byte(offlinePurpose + a.owner + " " + id) }

// OpenPRTs returns the PRTs that were put away.
func (o *Offline) OpenPRTs(away []byte) ([]PRT, error) {
	if away == nil {
		return nil, nil
	}
	plain, _, err := o.vault.Unseal(awaySuffix, away)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	var rec awayRecord
	if err := vault.Decode(o.vault.Owner()+awaySuffix, plain, &rec); err != nil {
		return nil, err
	}
	return rec.PRTs, nil
}

// SealPRTs seals PRTs for OpenPRTs.
func (o *Offline) SealPRTs(prts []PRT) ([]byte, error) {
	plain, err := vault.Encode(awayRecord{Version: vault.StateVersion, PRTs: prts})
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return o.vault.Seal(awaySuffix, plain, 0)
}

func (s *SealedOffline) Equal(to *SealedOffline) bool {
	if s == nil || to == nil {
		return s == to
	}
	return s.ID == to.ID && bytes.Equal(s.Sealed, to.Sealed)
}

// CopyKey returns a copy of the key; nil when it is forgotten.
func (o *Offline) CopyKey() []byte { return o.vault.CopyKey() }

// Forget clears the key.
func (o *Offline) Forget() { o.vault.Close() }
