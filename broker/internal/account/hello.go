package account

import (
	"time"
)

// Hello is the account's Hello key. Updates replace it, never change it.
type Hello struct {
	Key      []byte    `json:"key"` // blob
	ID       string    `json:"id"`  // of the service; empty: the registration was not answered
	Username string    `json:"username"`
	DeviceID string    `json:"device_id"`
	Created  time.Time `json:"created"`
	Software bool      `json:"software,omitempty"`
	// Offline is what the PIN opens without the service; nil: nothing.
	Offline *SealedOffline `json:"offline,omitempty"`
	// Wrong is how many PINs were given since the last right one, and WrongAt
	// when the last of them was.
	Wrong   int       `json:"wrong,omitempty"`
	WrongAt time.Time `json:"wrong_at,omitzero"`
	// Refused is what the service last said for certain against the user, the
	// device or the key: until it takes that back, the PIN opens nothing here.
	Refused *Death `json:"refused,omitempty"`
}

// The broker's own limit beside the TPM's, whose counter is shared with every
// other program: after so many wrong PINs in a row, wait, and longer each time.
const (
	freeTries    = 5
	firstPINWait = time.Minute
	maxPINWait   = time.Hour
)

// pinWait returns how long the next PIN has to wait after so many wrong ones.
func pinWait(wrong int) time.Duration {
	if wrong < freeTries {
		return 0
	}
	wait := firstPINWait
	for range min(wrong-freeTries, 10) {
		wait *= 2
	}
	return min(wait, maxPINWait)
}

// Try is a try that was counted: when, and when the one before it was.
type Try struct{ at, before time.Time }

// Count counts a try in advance. While wait is not zero none is taken, and
// nothing is counted.
func (h *Hello) Count(now time.Time) (this Try, wait time.Duration) {
	this = Try{at: now, before: h.WrongAt}
	if h.WrongAt.After(now) {
		h.WrongAt = now // the clock was set back; the wait begins anew
	}
	if wait = h.Wait(now); wait == 0 {
		h.Wrong, h.WrongAt = h.Wrong+1, now
	}
	return this, wait
}

// Settle takes a try off the count: all of them when the PIN was right, and
// this one when it was not judged.
func (h *Hello) Settle(this Try, right bool) {
	if right {
		h.Wrong = 0
		return
	}
	h.Wrong = max(0, h.Wrong-1)
	if h.WrongAt.Equal(this.at) {
		h.WrongAt = this.before
	}
}

// Wait returns how long the broker takes no PIN.
func (h *Hello) Wait(now time.Time) time.Duration {
	wait := pinWait(h.Wrong)
	return min(wait, max(0, h.WrongAt.Add(wait).Sub(now)))
}
