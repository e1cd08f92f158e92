package entratest

import (
	"maps"
	"sync"
	"time"
)

// flowTable holds what cannot travel in a token: which authorization codes
// were redeemed, device codes that wait for a user, and prompts that wait for
// the user's phone. Entries go when they expire.
type flowTable struct {
	mu       sync.Mutex              // guards all below
	redeemed map[string]int64        // code id → its expiry
	byDevice map[string]*deviceLogin // by device code
	byUser   map[string]*deviceLogin // by user code
	prompts  map[string]*prompt      // by prompt id
	inserts  int
}

func newFlowTable() *flowTable {
	return &flowTable{
		redeemed: map[string]int64{}, byDevice: map[string]*deviceLogin{},
		byUser: map[string]*deviceLogin{}, prompts: map[string]*prompt{},
	}
}

// sweepEvery is how many insertions pass between two sweeps.
const sweepEvery = 256

// sweep drops expired entries now and then. The caller holds the lock.
func (f *flowTable) sweep(now time.Time) {
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
		if d.expires+3600 < t { // an hour longer, so that a late poll learns that it expired
			delete(f.byDevice, code)
			delete(f.byUser, d.userCode)
		}
	}
	for id, p := range f.prompts {
		if p.expires < t {
			delete(f.prompts, id)
		}
	}
}

// redeem reports whether the code is redeemed for the first time.
func (f *flowTable) redeem(id string, expires int64, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sweep(now)
	if _, again := f.redeemed[id]; again {
		return false
	}
	f.redeemed[id] = expires
	return true
}

func (f *flowTable) redeemedCodes() map[string]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.redeemed)
}

func (f *flowTable) restoreRedeemed(codes map[string]int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.Copy(f.redeemed, codes)
}

// deviceLogin is a device code on its way.
type deviceLogin struct {
	deviceCode, userCode string
	client               string
	resource, scope      string
	fresh                bool // amr_values asked for ngcmfa
	mfa                  bool // amr_values asked for mfa
	v2                   bool
	expires              int64
	state                loginState
	session              session
}

type loginState int

const (
	loginPending loginState = iota
	loginApproved
	loginDeclined
	loginUsed
	loginExpired
)

func (f *flowTable) addDeviceLogin(d *deviceLogin, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sweep(now)
	f.byDevice[d.deviceCode], f.byUser[d.userCode] = d, d
}

// deviceLogin returns a copy of the entry.
func (f *flowTable) deviceLogin(deviceCode string) (deviceLogin, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.byDevice[deviceCode]
	if d == nil {
		return deviceLogin{}, false
	}
	return *d, true
}

func (f *flowTable) deviceLoginOf(userCode string) (deviceLogin, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.byUser[userCode]
	if d == nil {
		return deviceLogin{}, false
	}
	return *d, true
}

// settle moves an entry from one state to the next, once.
func (f *flowTable) settle(deviceCode string, from, to loginState, ss session) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.byDevice[deviceCode]
	if d == nil || d.state != from {
		return false
	}
	d.state = to
	if to == loginApproved {
		d.session = ss
	}
	return true
}
