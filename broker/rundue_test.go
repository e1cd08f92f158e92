package broker_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/prt"
)

// Run renews what is due and nothing else, tries soon again what failed, and leaves a
// PRT alone that is over.
func TestRunRenewsWhatIsDue(t *testing.T) {
	t.Parallel()
	const failed = "renewal in the background failed"
	for name, tt := range map[string]struct {
		after  time.Duration // since the sign-in
		before func(*world)
		sends  bool
		renews bool
		logs   bool
		most   time.Duration // until Run looks again
	}{
		"not due":      {after: prt.RenewAfter - time.Second, most: 10*time.Minute + time.Second},
		"due just now": {after: prt.RenewAfter, sends: true, renews: true, most: 25 * time.Minute},
		"the service is down": {after: prt.RenewAfter, before: func(w *world) {
			w.srv.AddFault(entratest.Fault{Kind: entratest.Status, Times: -1})
		}, sends: true, logs: true, most: 11 * time.Minute},
		"revoked": {after: prt.RenewAfter, before: func(w *world) { require.NoError(w.t, w.srv.Revoke(alice)) }, sends: true, most: 25 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withMemory)
			log := &logbook{}
			w.cfg.Logger = slog.New(log)
			w.reopen()
			w.join()
			acct := w.signIn()
			w.clock.Advance(tt.after)
			if tt.before != nil {
				tt.before(w)
			}
			w.wire.take()
			log.take()
			require.Less(t, w.runOnce(), tt.most)
			require.Equal(t, tt.sends, len(w.wire.take()) > 0)
			s := w.status(acct)
			require.Equal(t, tt.renews, !s.RenewedOn.Equal(s.IssuedOn))
			if tt.logs {
				require.Contains(t, log.take(), failed)
			} else {
				require.NotContains(t, log.take(), failed)
			}
		})
	}
}

// What is over cannot be renewed: the error says why, and what the service has ended is
// not sent again.
func TestRenewWhatIsOver(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		end  func(*world)
		sent int // token requests of the first call
		want error
	}{
		"revoked": {func(w *world) { require.NoError(w.t, w.srv.Revoke(alice)); w.clock.Advance(time.Second) }, 1, broker.ErrPRTRevoked},
		"expired": {func(w *world) { w.clock.Advance(15 * 24 * time.Hour) }, 1, broker.ErrPRTExpired},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withMemory)
			w.join()
			acct := w.signIn()
			tt.end(w)
			for _, sent := range []int{tt.sent, 0} { // the service says it, and then the state
				w.wire.take()
				err := w.b.RenewPRT(t.Context(), acct)
				require.ErrorIs(t, err, tt.want)
				var e *broker.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, acct, e.Account)
				require.Equal(t, sent, w.exchanges())
			}
		})
	}
}
