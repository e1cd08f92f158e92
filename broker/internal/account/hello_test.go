package account

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/tpm"
)

// Only the service's word on the key itself makes it unknown, not that on the
// user or the device.
func TestUnknown(t *testing.T) {
	t.Parallel()
	require.False(t, (&Hello{}).Unknown())
	require.False(t, (&Hello{Refused: &Death{Verdict: aadsts.Expired}}).Unknown())
	require.True(t, (&Hello{Refused: &Death{Verdict: aadsts.HelloKey}}).Unknown())
}

// After five wrong PINs the next one waits, a right one forgives all, and one
// that was not judged does not count.
func TestPINs(t *testing.T) {
	t.Parallel()
	h := &Hello{}
	var last pinTry
	for range 5 {
		var wait time.Duration
		last, wait = h.count(noon)
		require.Zero(t, wait)
	}
	_, wait := h.count(noon)
	require.Equal(t, time.Minute, wait)
	require.Equal(t, 5, h.Wrong)
	_, wait = h.count(noon.Add(-time.Hour))
	require.Equal(t, time.Minute, wait, "a clock that was set back opens nothing")
	h.settle(last, false)
	require.Equal(t, 4, h.Wrong)
	h.settle(last, true)
	require.Zero(t, h.Wrong)
	require.Zero(t, h.Wait(noon))
	h.Wrong, h.WrongAt = 50, noon
	require.Equal(t, time.Hour, h.Wait(noon))
}

// A clock that was ahead when a PIN was wrong, and is set right, makes the user
// wait as long as that PIN costs, and not until the time that was shown.
func TestPINClockSetBack(t *testing.T) {
	t.Parallel()
	h := &Hello{Wrong: 5, WrongAt: noon.Add(30 * 24 * time.Hour)}
	_, wait := h.count(noon)
	require.Equal(t, time.Minute, wait)
	_, wait = h.count(noon.Add(time.Minute))
	require.Zero(t, wait)
	require.Equal(t, 6, h.Wrong)
}

// A PIN is counted in the store before the key store judges it. A wrong one stays
// counted, a right one clears the count, and one that was not judged leaves the
// count as it was.
func TestTryPIN(t *testing.T) {
	t.Parallel()
	const before = 3
	locked := errors.New("the TPM is locked out")
	for name, tt := range map[string]struct {
		err   error
		wrong int
	}{
		"right":      {nil, 0},
		"wrong":      {tpm.ErrWrongPIN, before + 1},
		"not judged": {locked, before},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			a, err := openBook(t, testKeys(t), &store.Memory{}, "").Put(ctx, person("alice"), func(r *Record) error {
				r.Hello = &Hello{Wrong: before, WrongAt: noon.Add(-1)}
				return nil
			})
			require.NoError(t, err)
			err = a.TryPIN(ctx, func() error {
				require.Equal(t, before+1, a.Record().Hello.Wrong)
				return tt.err
			})
			require.ErrorIs(t, err, tt.err)
			rec, err := a.Load(ctx)
			require.NoError(t, err)
			require.Equal(t, tt.wrong, rec.Hello.Wrong)
			if tt.wrong == before {
				require.Equal(t, noon.Add(-1), rec.Hello.WrongAt)
			}
		})
	}
}

// A count that could not be written after a PIN is reported in the log: the PIN
// was right all the same. To a caller who went away there is nothing to report.
func TestTryPINCountNotWritten(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		full, gone, reported bool
	}{
		"written":           {false, false, false},
		"not written":       {true, false, true},
		"given up":          {true, true, false},
		"given up, written": {false, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, end := context.WithCancel(t.Context())
			a, err := openBook(t, testKeys(t), &store.Memory{}, "").Put(ctx, person("alice"), func(r *Record) error {
				r.Hello = &Hello{}
				return nil
			})
			require.NoError(t, err)
			var log bytes.Buffer
			a.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			a.cfg.Finish = func(ctx context.Context, work func(context.Context) error) error {
				if tt.full {
					return errFull
				}
				return work(context.WithoutCancel(ctx))
			}
			require.NoError(t, a.TryPIN(ctx, func() error {
				if tt.gone {
					end()
				}
				return nil
			}))
			require.Equal(t, tt.reported, bytes.Contains(log.Bytes(), []byte(errFull.Error())))
			require.Equal(t, tt.reported, log.Len() > 0)
			end()
		})
	}
}
