package tpm_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// withoutGetTime is a TPM that lacks TPM2_GetTime, which is optional: the clock
// is then read, and confirmed by a policy session.
func withoutGetTime(o tpm.Opener) tpm.Opener {
	f := tpmtest.NewFaulty(o)
	f.Inject(tpmtest.Fault{On: getTime, RC: tpm2.TPMRCCommandCode, Times: -1})
	return f.Opener()
}

// The TPM tells its time under the session: no bit of that can be changed, and
// none of a former answer passes for it.
func TestPINSealForgedTime(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		require.NoError(t, e.Reset(), "so that there may be fewer resets")
		f := tpmtest.NewFaulty(e.Opener())
		s := open(t, f.Opener(), tpm.Config{})
		opens(t, s, sealPIN(t, s, threeDays))
		var last []byte
		f.Inject(tpmtest.Fault{On: getTime, Tamper: func(rsp []byte) []byte { last = bytes.Clone(rsp); return rsp }})
		before, err := tpm2.ReadClock{}.Execute(e)
		require.NoError(t, err)
		sealed := sealPIN(t, s, tpm.Limit{Time: day, Resets: 1, Restarts: 1})
		after, err := tpm2.ReadClock{}.Execute(e)
		require.NoError(t, err)
		clock, resets, restarts := tpm.BoundsOf(sealed)
		require.GreaterOrEqual(t, clock, before.CurrentTime.ClockInfo.Clock+uint64(day.Milliseconds()))
		require.LessOrEqual(t, clock, after.CurrentTime.ClockInfo.Clock+uint64(day.Milliseconds()))
		require.Equal(t, before.CurrentTime.ClockInfo.ResetCount+1, resets)
		require.Equal(t, before.CurrentTime.ClockInfo.RestartCount+1, restarts)

		refused := func(name string, tamper func([]byte) []byte) {
			t.Helper()
			f.Inject(tpmtest.Fault{On: getTime, Tamper: tamper, Times: 2})
			sealed, err := s.SealPIN(t.Context(), plaintext, aad, rightPIN, threeDays)
			f.Clear()
			require.ErrorContains(t, err, "tpm: sealing under a PIN: ", name)
			require.Empty(t, sealed)
			require.NotErrorIs(t, err, tpm.ErrWrongPIN)
		}
		require.Greater(t, len(last), 100)
		changed := 0
		for n := range last {
			for _, bit := range []byte{0x01, 0x80} {
				if n >= 6 && n < 10 {
					continue // another code: no answer, and the clock is proved the other way
				}
				if n == len(last)-3 {
					continue // the attributes of the second authorisation, an empty password
				}
				refused(fmt.Sprintf("byte %d", n), func(rsp []byte) []byte {
					if len(rsp) == len(last) { // else it refuses the session that was spoiled before
						rsp[n] ^= bit
						changed++
					}
					return rsp
				})
			}
			refused(fmt.Sprintf("%d bytes", n), func(rsp []byte) []byte { return rsp[:min(n, len(rsp))] })
		}
		require.GreaterOrEqual(t, changed, 2*(len(last)-5))
		refused("an earlier answer", func([]byte) []byte { return bytes.Clone(last) })
		opens(t, s, sealPIN(t, s, threeDays))
	})
}

// A clock or a count that is not the TPM's is noticed at the sealing, where it
// would prolong the limit.
func TestPINSealForgedClock(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		require.NoError(t, e.Reset(), "so that there may be fewer")
		f := tpmtest.NewFaulty(withoutGetTime(e.Opener()))
		s := open(t, f.Opener(), tpm.Config{})
		opens(t, s, sealPIN(t, s, threeDays))
		now, err := tpm2.ReadClock{}.Execute(e)
		require.NoError(t, err)
		require.NotZero(t, now.CurrentTime.ClockInfo.ResetCount)
		for name, tamper := range map[string]func([]byte) []byte{
			"clock":     clockAt(uint64((1000 * day).Milliseconds())),
			"last":      clockAt(math.MaxUint64),
			"resets":    func(rsp []byte) []byte { rsp[resetsAt]++; return rsp },
			"restarts":  func(rsp []byte) []byte { rsp[restartsAt]++; return rsp },
			"fewer":     func(rsp []byte) []byte { clear(rsp[resetsAt:restartsAt]); return rsp },
			"truncated": func(rsp []byte) []byte { return rsp[:20] },
		} {
			before := f.Injected()
			f.Inject(tpmtest.Fault{On: readClock, Tamper: tamper, Times: 2})
			sealed, err := s.SealPIN(t.Context(), plaintext, aad, rightPIN, threeDays)
			require.ErrorContains(t, err, "tpm: sealing under a PIN: ", name)
			require.Empty(t, sealed)
			if name != "truncated" {
				require.ErrorIs(t, err, tpm.ErrTPMChanged, name)
			}
			require.Greater(t, f.Injected(), before, name)
			f.Clear()
		}
		opens(t, s, sealPIN(t, s, threeDays))
	})
}

// Where the counts are in a response to TPM2_ReadClock.
const (
	resetsAt   = 10 + 16
	restartsAt = resetsAt + 4
)

// Who alters the bus also alters what the clock is proved with: a trial session
// would confirm any, and so would one that is a trial session for as long as it
// has demands to hold.
func TestPINSealForgedSession(t *testing.T) {
	for _, tt := range []struct {
		name          string
		swaps, blanks bool
	}{
		{"trial session", false, false},
		{"and a policy session of its handle", true, false},
		{"and a policy session of its handle, without a nonce", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				m := &mitm{swaps: tt.swaps, blanks: tt.blanks}
				s := open(t, m.opener(withoutGetTime(e.Opener())), tpm.Config{})
				for range 2 {
					m.on, m.trials = true, 0
					sealed, err := s.SealPIN(t.Context(), plaintext, aad, rightPIN, threeDays)
					m.on = false
					require.ErrorIs(t, err, tpm.ErrTPMChanged)
					require.Empty(t, sealed)
					require.NotZero(t, m.trials)
				}
				opens(t, s, sealPIN(t, s, threeDays))
			})
		})
	}
}

// A policy session that did not start as it seems to does not make the right
// PIN a wrong one.
func TestRightPINIsNotAWrongOne(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		f := tpmtest.NewFaulty(e.Opener())
		s := open(t, f.Opener(), tpm.Config{})
		sealed := sealPIN(t, s, threeDays)
		alter := tpmtest.Fault{On: startSession, Tamper: func(rsp []byte) []byte { rsp[len(rsp)-1] ^= 1; return rsp }}
		for range 5 { // more than there are tries
			f.Inject(alter)
			opens(t, s, sealed)
		}
		require.Equal(t, 5, f.Injected())
		alter.Times = -1
		f.Inject(alter)
		err := refuses(t, s, sealed, aad, rightPIN)
		require.ErrorIs(t, err, tpm.ErrNoTPM, "the storage root key is there, so that it is no other TPM")
		require.NotErrorIs(t, err, tpm.ErrKeyUnusable)
		f.Clear()
		require.Zero(t, tries(t, e))
		opens(t, s, sealed)
	})
}

// Behind a resource manager the demands run in no session, since that would be swapped
// around each. Who alters what is said of them gets a try counted as little as with
// one, and opens nothing that is over.
func TestManagedDemandsForged(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		f := tpmtest.NewFaulty(managed(t, e.Opener()))
		s := open(t, f.Opener(), tpm.Config{})
		sealed := sealPIN(t, s, threeDays)
		opens(t, s, sealed)
		const header = 10
		success := []byte{0x80, 0x01, 0, 0, 0, header, 0, 0, 0, 0}
		for skip := range 3 { // the commitment, the clock, the resets
			for n := range header {
				f.Inject(tpmtest.Fault{On: counterTimer, Skip: skip, Tamper: func(rsp []byte) []byte {
					require.Equal(t, success, rsp, "nothing but a header")
					rsp[n] ^= 1
					return rsp
				}})
				got, err := s.UnsealPIN(t.Context(), sealed, aad, rightPIN)
				f.Clear()
				if err == nil {
					require.Equal(t, plaintext, got)
				}
				require.NotErrorIs(t, err, tpm.ErrWrongPIN)
				require.NotErrorIs(t, err, tpm.ErrKeyUnusable)
			}
		}
		require.Equal(t, 3*header, f.Injected())
		require.Zero(t, tries(t, e))
		opens(t, s, sealed)

		over := sealPIN(t, s, tpm.Limit{Time: day, Resets: 0, Restarts: -1})
		require.NoError(t, e.Reset())
		refused := func(rsp []byte) []byte { return bytes.Clone(success) }
		f.Inject(tpmtest.Fault{On: counterTimer, Times: -1, Tamper: refused})
		before := tries(t, e)
		err := refuses(t, s, over, aad, rightPIN)
		f.Clear()
		require.NotErrorIs(t, err, tpm.ErrWrongPIN)
		require.Equal(t, before, tries(t, e))
		require.ErrorIs(t, refuses(t, s, over, aad, rightPIN), tpm.ErrExpired)
		opens(t, s, sealed)
	})
}

// Every demand that a PIN's policy makes is authenticated by the TPM, where a session
// is there for it: it says that the demand was met.
func TestDemandsAreAuthenticated(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		record := tpmtest.NewRecording(e.Opener())
		s := open(t, record.Opener(), tpm.Config{})
		opens(t, s, sealPIN(t, s, threeDays))
		demands := 0
		for _, msg := range record.Messages() {
			if tpm2.TPMCC(binary.BigEndian.Uint32(msg[6:])) == counterTimer {
				demands++
				require.Equal(t, uint16(tpm2.TPMSTSessions), binary.BigEndian.Uint16(msg))
			}
		}
		require.Equal(t, 4, demands)
	})
}

// A mitm makes policy sessions trial sessions and puts the clock ahead.
type mitm struct {
	on     bool
	swaps  bool // for TPM2_PolicySecret the session is what it was asked to be
	blanks bool // the session's nonce is taken away
	trials int  // how many it made

	start  []byte
	handle tpm2.TPMHandle
}

func (m *mitm) opener(o tpm.Opener) tpm.Opener {
	inner := o.Open
	o.Open = func(ctx context.Context) (transport.TPMCloser, error) {
		c, err := inner(ctx)
		return &mitmConn{m, c}, err
	}
	return o
}

type mitmConn struct {
	*mitm
	transport.TPMCloser
}

func (c *mitmConn) Close() error { return c.TPMCloser.Close() }

func (c *mitmConn) Send(cmd []byte) ([]byte, error) {
	if !c.on {
		return c.TPMCloser.Send(cmd)
	}
	switch tpm2.TPMCC(binary.BigEndian.Uint32(cmd[6:])) {
	case startSession:
		return c.started(cmd)
	case readClock:
		rsp, err := c.TPMCloser.Send(cmd)
		if err != nil {
			return nil, err
		}
		ahead := uint64((1000 * day).Milliseconds())
		return clockAt(binary.BigEndian.Uint64(rsp[18:]) + ahead)(rsp), nil
	case policySecret:
		if err := c.swap(); err != nil {
			return nil, err
		}
	}
	return c.TPMCloser.Send(cmd)
}

// started makes a policy session a trial session (Part 3, 11.1: two handles,
// the nonce, the salt, the type).
func (c *mitmConn) started(cmd []byte) ([]byte, error) {
	at := 10 + 2*4
	at += 2 + int(binary.BigEndian.Uint16(cmd[at:]))
	at += 2 + int(binary.BigEndian.Uint16(cmd[at:]))
	if cmd[at] != byte(tpm2.TPMSEPolicy) {
		return c.TPMCloser.Send(cmd)
	}
	c.start = bytes.Clone(cmd)
	cmd = bytes.Clone(cmd)
	cmd[at] = byte(tpm2.TPMSETrial)
	rsp, err := c.TPMCloser.Send(cmd)
	if err != nil || len(rsp) < 14 {
		return rsp, err
	}
	c.trials++
	c.handle = tpm2.TPMHandle(binary.BigEndian.Uint32(rsp[10:]))
	if c.blanks {
		rsp = append(rsp[:14:14], 0, 0)
		binary.BigEndian.PutUint32(rsp[2:], uint32(len(rsp)))
	}
	return rsp, nil
}

// swap puts a policy session in the place of the trial session.
func (c *mitmConn) swap() error {
	if !c.swaps {
		return nil
	}
	if _, err := (tpm2.FlushContext{FlushHandle: c.handle}).Execute(c.TPMCloser); err != nil {
		return err
	}
	rsp, err := c.TPMCloser.Send(bytes.Clone(c.start))
	if err == nil && tpm2.TPMHandle(binary.BigEndian.Uint32(rsp[10:])) != c.handle {
		err = errors.New("another handle")
	}
	return err
}
