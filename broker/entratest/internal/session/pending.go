package session

import (
	"maps"
	"sync"
	"time"
)

// Pending holds what cannot travel in a token: which authorization codes
// were redeemed, device codes that wait for a user, and prompts that wait for
// an answer on the user's phone. Entries are dropped after they expire.
type Pending struct {
	mu       sync.Mutex              // guards all below
	redeemed map[string]int64        // code id → its expiry
	byDevice map[string]*DeviceLogin // by device code
	byUser   map[string]*DeviceLogin // by user code
	prompts  map[string]*Prompt      // by prompt id
	inserts  int
}

// NewPending returns an empty table.
func NewPending() *Pending {
	return &Pending{
		redeemed: map[string]int64{}, byDevice: map[string]*DeviceLogin{},
		byUser: map[string]*DeviceLogin{}, prompts: map[string]*Prompt{},
	}
}

// sweepEvery is how many insertions pass between two sweeps.
const sweepEvery = 256

// sweep drops expired entries now and then. The caller holds the lock.
func (f *Pending) sweep(now time.Time) {
	if f.inserts++; f.inserts%sweepEvery != 0 {
		return
	}
	t := now.Unix()
	for id, end := range f.redeemed {
		if end < t {
			delete(f.redeemed, id)
		}
	}
	for code, d := range f.byDevice {
		if d.Expires+3600 < t { // an hour longer, so that a late poll learns that it expired
			delete(f.byDevice, code)
			delete(f.byUser, d.UserCode)
		}
	}
	for id, p := range f.prompts {
		if p.Expires < t {
			delete(f.prompts, id)
		}
	}
}

// Redeem reports whether the code is redeemed for the first time.
func (f *Pending) Redeem(id string, expires int64, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sweep(now)
	if _, again := f.redeemed[id]; again {
		return false
	}
	f.redeemed[id] = expires
	return true
}

// RedeemedCodes returns the ids that were used up, with their expiry times.
func (f *Pending) RedeemedCodes() map[string]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.redeemed)
}

// RestoreRedeemed adds ids that were used up.
func (f *Pending) RestoreRedeemed(codes map[string]int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.Copy(f.redeemed, codes)
}

// DeviceLogin is a device code flow in progress.
type DeviceLogin struct {
	DeviceCode, UserCode string
	Client               string
	Resource, Scope      string
	Fresh                bool // amr_values asked for ngcmfa
	MFA                  bool // amr_values asked for mfa
	V2                   bool
	Expires              int64
	State                LoginState
	Session              Session
}

// LoginState is the state of something that waits for the user.
type LoginState int

const (
	LoginPending LoginState = iota
	LoginApproved
	LoginDeclined
	LoginUsed
	LoginExpired
)

// AddDeviceLogin adds a device code that waits for its user.
func (f *Pending) AddDeviceLogin(d *DeviceLogin, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sweep(now)
	f.byDevice[d.DeviceCode], f.byUser[d.UserCode] = d, d
}

// DeviceLogin returns a copy of the entry of a device code.
func (f *Pending) DeviceLogin(deviceCode string) (DeviceLogin, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.byDevice[deviceCode]
	if d == nil {
		return DeviceLogin{}, false
	}
	return *d, true
}

// DeviceLoginOf returns a copy of the entry of a user code.
func (f *Pending) DeviceLoginOf(userCode string) (DeviceLogin, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.byUser[userCode]
	if d == nil {
		return DeviceLogin{}, false
	}
	return *d, true
}

// Settle moves an entry from one state to the next, once.
func (f *Pending) Settle(deviceCode string, from, to LoginState, ss Session) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.byDevice[deviceCode]
	if d == nil || d.State != from {
		return false
	}
	d.State = to
	if to == LoginApproved {
		d.Session = ss
	}
	return true
}
