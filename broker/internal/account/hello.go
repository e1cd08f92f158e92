package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/tpm"
)

// ErrNoHello: the account has no Hello key.
var ErrNoHello = errors.New("broker: there is no Hello key")

// A TooSoon says that a PIN was not tried because too many before it were
// wrong.
type TooSoon struct {
	Wrong int           // how many, in a row
	Wait  time.Duration // until one is tried again
}

// Error returns how many and how long.
func (e *TooSoon) Error() string {
	return fmt.Sprintf("%d wrong PINs in a row: wait %s", e.Wrong, e.Wait.Round(time.Second))
}

// Hello is the account's Hello key. Updates replace it, never change it.
type Hello struct {
	Key      []byte    `json:"key"` // blob
	ID       string    `json:"id"`  // of the service; empty: the registration got no answer
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
	// Refused is the service's last definite refusal of the user, the device or
	// the key: until the service takes it back, the PIN opens nothing here.
	Refused *Death `json:"refused,omitempty"`
	// Doubt is a first reply that may have been a refusal of the device. Restored
	// is when a refusal of the device was last taken back.
	Doubt    *Death    `json:"doubt,omitempty"`
	Restored time.Time `json:"restored,omitzero"`
}

// Unknown reports whether the service said that it does not know the key.
func (h *Hello) Unknown() bool { return h.Refused != nil && h.Refused.Verdict == aadsts.HelloKey }

// The broker's own limit besides the TPM's, whose counter is shared with every
// other program: after this many wrong PINs in a row, a wait, longer each time.
const (
	freeTries    = 5
	firstPINWait = time.Minute
	maxPINWait   = time.Hour
)

// pinWait returns how long the next PIN has to wait after this many wrong ones.
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

// A pinTry is a counted try: its time, and the time of the try before it.
type pinTry struct{ at, before time.Time }

// count counts a try in advance. If wait is not zero, the PIN is not tried, and
// nothing is counted.
func (h *Hello) count(now time.Time) (this pinTry, wait time.Duration) {
	this = pinTry{at: now, before: h.WrongAt}
	if h.WrongAt.After(now) {
		h.WrongAt = now // the clock was set back; the wait starts over
	}
	if wait = h.Wait(now); wait == 0 {
		h.Wrong, h.WrongAt = h.Wrong+1, now
	}
	return this, wait
}

// settle corrects the count after a try: a right PIN clears it, and a PIN that
// was not judged takes back its own try.
func (h *Hello) settle(this pinTry, right bool) {
	if right {
		h.Wrong = 0
		return
	}
	h.Wrong = max(0, h.Wrong-1)
	if h.WrongAt.Equal(this.at) {
		h.WrongAt = this.before
	}
}

// Wait returns how long the broker accepts no PIN.
func (h *Hello) Wait(now time.Time) time.Duration {
	wait := pinWait(h.Wrong)
	return min(wait, max(0, h.WrongAt.Add(wait).Sub(now)))
}

// TryPIN runs try, which gives the PIN to the key store. The try is counted
// before, so that killing the process does not give it back. A right PIN clears
// the count, and a PIN that was not judged does not count.
func (a *Account) TryPIN(ctx context.Context, try func() error) error {
	this, err := a.countPIN(ctx)
	if err != nil {
		return err
	}
	err = try()
	if errors.Is(err, tpm.ErrWrongPIN) {
		return err
	}
	right := err == nil
	// The caller going away must not leave a try counted after a right PIN or a
	// lockout of the TPM.
	cerr := a.cfg.Finish(ctx, func(ctx context.Context) error {
		_, err := a.Update(ctx, func(r *Record) error {
			if r.Hello != nil {
				h := *r.Hello
				h.settle(this, right)
				r.Hello = &h
			}
			return nil
		})
		return err
	})
	if cerr != nil && ctx.Err() == nil {
		a.cfg.Logger.InfoContext(ctx, "writing the count of PINs failed", "error", cerr)
	}
	return err
}

// countPIN counts a try in advance, or refuses it because it comes too soon.
func (a *Account) countPIN(ctx context.Context) (this pinTry, err error) {
	var tooSoon error
	_, err = a.Update(ctx, func(r *Record) error {
		if r.Hello == nil {
			return ErrNoHello
		}
		h := *r.Hello
		var left time.Duration
		if this, left = h.count(a.cfg.Now()); left > 0 {
			tooSoon = &TooSoon{Wrong: h.Wrong, Wait: left}
		} else {
			tooSoon = nil
		}
		r.Hello = &h
		return nil
	})
	if err == nil {
		err = tooSoon
	}
	return this, err
}
