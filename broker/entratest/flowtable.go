package entratest

import (
	"sync"
	"time"
)

// flowTable holds what cannot travel in a token: which authorization codes
// were redeemed, device codes that wait for a user, and prompts that wait for
// an authenticator app. Entries go when they expire.
type flowTable struct {
	mu       sync.Mutex               // guards all below
	redeemed map[string]int64         // code id → its expiry
	byDevice map[string]*deviceLogin  // by device code
	byUser   map[string]*deviceLogin  // by user code
	prompts  map[string]*numberPrompt // by prompt id
	inserts  int
}

func newFlowTable() *flowTable {
	return &flowTable{
		redeemed: map[string]int64{}, byDevice: map[string]*deviceLogin{},
		byUser: map[string]*deviceLogin{}, prompts: map[string]*numberPrompt{},
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

// numberPrompt is a prompt in an authenticator app that shows a number.
type numberPrompt struct {
	id, user string // object id
	number   int
	expires  int64
	state    loginState
}

func (f *flowTable) addPrompt(p *numberPrompt, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sweep(now)
	f.prompts[p.id] = p
}

func (f *flowTable) prompt(id string) (numberPrompt, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.prompts[id]
	if p == nil {
		return numberPrompt{}, false
	}
	return *p, true
}

// answerPrompt answers the newest waiting prompt of a user. A wrong number
// declines it, as the app does.
func (f *flowTable) answerPrompt(user string, number int, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	var newest *numberPrompt
	for _, p := range f.prompts {
		if p.user == user && p.state == loginPending && p.expires >= now.Unix() && (newest == nil || p.expires > newest.expires) {
			newest = p
		}
	}
	if newest == nil {
		return false
	}
	newest.state = loginDeclined
	if newest.number == number {
		newest.state = loginApproved
	}
	return true
}

// usePrompt takes an approved prompt, once.
func (f *flowTable) usePrompt(id string) loginState {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.prompts[id]
	if p == nil {
		return loginUsed
	}
	state := p.state
	if state != loginPending {
		p.state = loginUsed
	}
	return state
}
