package broker_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/internal/proof/tally"
)

// patience is the deadline of each call, in virtual time.
const patience = 10 * time.Minute

// A moment is a point of a course, from which its next operation can be run again
// and again.
type moment struct {
	course course
	op     stage
	life   life // what an operation finds in it, apart from the world
	entra  []byte
	state  *store.Memory
	keys   *pooled
	now    time.Time
}

// moments runs all courses without faults and returns the point before each
// operation.
func moments(t *testing.T) (all []moment) {
	t.Helper()
	for _, c := range lives {
		l := c.begin(t, withMemory, inMemory, quiet)
		l.cfg.InsecureSoftwareHello = true
		l.onWire(nil)
		l.reopen()
		for _, o := range c.operations {
			if !o.between {
				entra, err := l.srv.State()
				require.NoError(t, err)
				m := moment{course: c, op: o, life: *l, entra: entra, state: copyStore(t, l.store.(*store.Memory)), keys: l.keys.(*pooled).clone(), now: l.clock.Now()}
				m.life.world = nil
				all = append(all, m)
			}
			if err := o.do(t.Context(), l); o.between {
				require.NoError(t, err)
			}
		}
	}
	return all
}

func quiet(_ *world, o *entratest.Options) { o.Logf = func(string, ...any) {} }

// inMemory keeps the world off sockets.
func inMemory(w *world, _ *entratest.Options) { w.keys = pooledKeys(w.t) }

// onWire lets the broker, when it is opened again, and the person reach the
// emulator without sockets, the broker through a wire with faults unless that is
// nil.
func (l *life) onWire(f *faultyWire) {
	direct := l.srv.Transport()
	l.person.client = &http.Client{Transport: direct}
	l.wire.inner = direct
	through := func(t broker.Transport) broker.Transport {
		if f == nil {
			return t
		}
		return faultyTransport{f, t}
	}
	l.cfg.Transport = through(l.wire)
	l.cfg.MutualTLS = func(c tls.Certificate) broker.Transport {
		cert, err := x509.ParseCertificate(c.Certificate[0])
		require.NoError(l.t, err)
		return through(direct.WithCertificate(cert))
	}
	if f != nil {
		l.cfg.Now = func() time.Time { return l.clock.Now().Add(f.off()) }
	}
}

// tenant starts the emulator in the state of the moment. It listens, so it cannot
// be in a bubble, where time would stand still.
func (m moment) tenant(t *testing.T) *life {
	t.Helper()
	l := m.course.begin(t, withKeys(m.keys.clone()), quiet, func(w *world, o *entratest.Options) {
		w.clock = entratest.NewClock(m.now)
		o.Clock, o.State = w.clock, m.entra
		w.store = copyStore(t, m.state)
	})
	require.NoError(t, l.b.Close())
	l.acct, l.imported, l.computer = m.life.acct, m.life.imported, m.life.computer
	l.cfg.InsecureSoftwareHello = true
	return l
}

// resume continues a life in a new process of the bubble of t, with faults on its
// wire.
func (l *life) resume(t *testing.T, f *faultyWire) {
	l.t = t
	l.onWire(f)
	l.b = l.open()
}

// An outcome is what came of an operation in a moment.
type outcome struct {
	first, second       string // the kinds of the errors of the operation and of its repetition
	text                string // of the first error
	between, after      string // what a new process gets for the account after each of them
	problems            string // what the status of a new process complains about
	devices, keys       int    // at the service after the first
	devicesEnd, keysEnd int    // and after the second
	took                time.Duration
	calls               []string
	once                map[string]int
}

// run runs the operation of a moment with a fault, then again without, and looks at
// what is left each time.
func (m moment) run(t *testing.T, f *faultyWire) (o outcome) {
	l := m.tenant(t)
	synctest.Test(t, func(t *testing.T) {
		l.resume(t, f)
		o = m.runOn(t.Context(), l, f, f.arm)
		require.NoError(t, l.b.Close())
		time.Sleep(2 * time.Minute) // what goes on after that never ends, and fails the test
	})
	return o
}

// runOn does so on a machine whose faults happen while they are armed.
func (m moment) runOn(ctx context.Context, l *life, f *faultyWire, arm func(bool)) (o outcome) {
	ctx, cancel := context.WithTimeout(ctx, 10*patience)
	defer cancel()
	if m.op.warm != nil {
		if err := m.op.warm(ctx, l); err != nil {
			o.first = "not begun: " + kindOf(err)
		}
	}
	arm(true)
	began := time.Now()
	deadline, stop := context.WithTimeout(ctx, patience)
	err := m.op.do(deadline, l)
	stop()
	o.took = time.Since(began)
	arm(false)
	o.first, o.calls, o.once = kindOf(err), f.calls, f.once
	if err != nil {
		o.text = err.Error()
	}
	o.between, o.problems = l.look(ctx)
	o.devices, o.keys = l.atService()

	var e *broker.Error
	if errors.As(err, &e) && e.RetryAfter > 0 {
		l.clock.Advance(e.RetryAfter + time.Second)
	}
	o.second = kindOf(m.op.do(ctx, l))
	var problems string
	o.after, problems = l.look(ctx)
	o.problems += problems
	o.devicesEnd, o.keysEnd = l.atService()
	return o
}

// look opens the state in a new process, and says what it gets for the account and
// what its status complains about.
func (l *life) look(ctx context.Context) (kind, problems string) {
	b, err := broker.New(ctx, l.cfg)
	if err != nil {
		return "", "the state does not open: " + err.Error()
	}
	defer func() { _ = b.Close() }()
	broker.SetSleep(b, l.sleep)
	s, err := b.Status(ctx)
	if err != nil {
		problems = err.Error()
	} else {
		problems = s.Problem
	}
	_, err = b.AcquireTokenSilent(ctx, open)
	return kindOf(err), problems
}

// atService counts what the service has of the machine and its users.
func (l *life) atService() (devices, keys int) {
	for _, u := range l.srv.Users() {
		keys += len(u.HelloKeys)
	}
	return len(l.srv.Devices()), keys
}

// kinds are the errors that callers can test for, the narrower ones first.
var kinds = []error{
	broker.ErrPRTRevoked, broker.ErrPRTExpired, broker.ErrNoAccount, broker.ErrLocked, broker.ErrInteractionRequired,
	broker.ErrSeveralAccounts, broker.ErrDeviceNotCompliant, broker.ErrBlocked, broker.ErrDeviceNotRegistered,
	broker.ErrDeviceDisabled, broker.ErrDeviceGone, broker.ErrDeviceAuth, broker.ErrWrongPIN, broker.ErrBadCredential,
	broker.ErrPINLocked, broker.ErrPINRules, broker.ErrNoHello, broker.ErrHelloExists, broker.ErrUserNotFound,
	broker.ErrAccountLocked, broker.ErrUserDisabled, broker.ErrAppConfig, broker.ErrUserCanceled, broker.ErrThrottled,
	broker.ErrOfflineExpired, broker.ErrTransient, broker.ErrKeyUnusable, broker.ErrStateDamaged, broker.ErrClosed,
	errors.ErrUnsupported, context.DeadlineExceeded, context.Canceled,
}

const fine = "no error"

// kindOf names the narrowest error that callers can test for. One that they cannot
// test for is its text.
func kindOf(err error) string {
	if err == nil {
		return fine
	}
	for _, k := range kinds {
		if errors.Is(err, k) {
			return k.Error()
		}
	}
	return masked(err.Error())
}

// afterPolling is how the wait for a device code also ends: with the code, which the
// service gives no second token for, or with the caller's patience.
var afterPolling = []string{broker.ErrInteractionRequired.Error(), context.DeadlineExceeded.Error()}

// passing are temporary failures.
var passing = []string{broker.ErrTransient.Error(), broker.ErrThrottled.Error(), broker.ErrOfflineExpired.Error()}

// A scene is what an operation does without faults, and what there was before.
type scene struct {
	m             *moment
	base          outcome
	before        string // what the account gets
	devices, keys int    // at the service
}

// wrong compares what came of an operation with a fault to what comes of it
// without. expected reports whether an error may come of the fault.
func (s scene) wrong(o outcome, expected func(outcome) bool) (all []string) {
	base, before, devices, keys := s.base, s.before, s.devices, s.keys
	complain := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if o.took > patience {
		complain("took %s", o.took)
	}
	switch {
	case o.first == fine, o.first == base.first, slices.Contains(passing, o.first), expected(o):
	case strings.Contains(s.m.op.name, "evice") && strings.Contains(strings.ToLower(s.m.op.name), "code") && slices.Contains(afterPolling, o.first):
	default:
		complain("ended in %q (%s), not in %q or a temporary failure", o.first, o.text, base.first)
	}
	if o.problems != base.problems {
		complain("a new process complains: %s", o.problems)
	}
	for at, got := range map[string]string{"after it": o.between, "at the end": o.after} {
		switch {
		case before == fine && base.between == fine && got != fine:
			complain("%s the PRT gives %q", at, got)
		case got != fine && !isKind(got):
			complain("%s the PRT gives %q, which nobody can test for", at, got)
		}
	}
	if most := max(devices, base.devices); o.devices > most || o.devicesEnd > max(most, base.devicesEnd) {
		complain("the service has %d devices, and %d at the end", o.devices, o.devicesEnd)
	}
	if most := max(keys, base.keys); o.keys > most || o.keysEnd > max(most, base.keysEnd) {
		complain("the service has %d Hello keys, and %d at the end", o.keys, o.keysEnd)
	}
	for what, n := range o.once {
		if n > max(1, base.once[what]) {
			complain("%s was sent %d times", what, n)
		}
	}
	switch {
	case o.second == fine, o.second == base.second:
	case o.first != fine && o.second == base.first:
	case s.m.op.name == "UnregisterDevice" && o.devices < devices && o.second == broker.ErrDeviceGone.Error(): // as it says
	default:
		complain("ended in %q, and without the fault in %q, not in %q", o.first, o.second, base.second)
	}
	if o.second == base.first && o.after != base.between && o.after != base.after {
		complain("at the end the PRT gives %q, not %q", o.after, base.between)
	}
	return all
}

func isKind(s string) bool {
	return slices.ContainsFunc(kinds, func(k error) bool { return k.Error() == s })
}

// A cell is an operation with a fault.
type cell struct {
	*scene
	fault   *httpFault
	at      int
	lasting bool
}

func (c cell) String() string {
	return fmt.Sprintf("%s/request %d, %s/%s, %s", c.m.op.name, c.at+1, c.base.calls[c.at], c.fault.name, mode(c.lasting))
}

func mode(lasting bool) string {
	if lasting {
		return "from then on"
	}
	return "once"
}

// cells are all operations with each fault at each request.
func cells(t *testing.T) (all []cell) {
	t.Helper()
	recorded := recordedCalls(t)
	ms := moments(t)
	for i := range ms {
		m := &ms[i]
		if m.op.cut {
			continue
		}
		s := &scene{m: m, base: m.run(t, &faultyWire{})}
		l := m.tenant(t)
		l.onWire(nil)
		s.before, _ = l.look(t.Context())
		s.devices, s.keys = l.atService()
		for _, call := range recorded[m.op.name] {
			require.Contains(t, s.base.calls, call, "%s makes this call, and is not disturbed there", m.op.name)
		}
		for at := range s.base.calls {
			for j := range httpFaults() {
				f := &httpFaults()[j]
				all = append(all, cell{s, f, at, false})
				if f.jump == 0 {
					all = append(all, cell{s, f, at, true})
				}
			}
		}
	}
	return all
}

// recordedCalls reads the calls of each operation in the golden trace.
func recordedCalls(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "trace.txt"))
	require.NoError(t, err)
	calls := map[string][]string{}
	op := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "== "); ok {
			op = name
		}
		if method, address, ok := strings.Cut(line, " https://"); ok && !strings.Contains(method, " ") {
			address, _, _ = strings.Cut(address, "?")
			calls[op] = append(calls[op], method+" https://"+address)
		}
	}
	require.NotEmpty(t, calls)
	return calls
}

// Every method of a Broker is an operation of a course, so that none escapes the
// trace and the matrix.
func TestLivesCallEveryMethod(t *testing.T) {
	t.Parallel()
	called := map[string]bool{}
	for _, c := range lives {
		for _, o := range c.operations {
			name, _, _ := strings.Cut(o.name, ",")
			called[name] = true
		}
	}
	for m := range reflect.TypeFor[*broker.Broker]().Methods() {
		require.True(t, called[m.Name] || contains(withoutContext, m.Name), "no course calls %s", m.Name)
	}
}

// sample takes some of many cells: all in make proof, where the time decides, else
// one of so many.
func sample[C any](all []C, in, short int) []C {
	rand.New(rand.NewPCG(22, 0)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	switch {
	case tally.Budget() > 0:
		return all
	case testing.Short():
		in = short
	}
	return all[:len(all)/in]
}

// each runs the cells in several goroutines, as long as make proof allows.
func each[C fmt.Stringer](t *testing.T, class string, all []C, run func(t *testing.T, c C)) {
	t.Helper()
	count := tally.New(t, "faults", class)
	var end time.Time
	if budget := tally.Budget(); budget > 0 {
		end = time.Now().Add(budget)
		t.Logf("%d cells", len(all))
	}
	for w := range workers {
		t.Run(fmt.Sprint(w), func(t *testing.T) {
			t.Parallel()
			for i := w; i < len(all) && (end.IsZero() || time.Now().Before(end)); i += workers {
				count.Cell(t.Run(all[i].String(), func(t *testing.T) { run(t, all[i]) }))
			}
		})
	}
}

var workers = runtime.GOMAXPROCS(0)
