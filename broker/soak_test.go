package broker_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/internal/proof/tally"
)

const year = 365 * 24 * time.Hour

// A soak is the life of a machine with many accounts: years of its clock, in which
// one request of twenty fails, passwords change, and users and the device are
// disabled.
type soak struct {
	*world
	r      *rand.Rand
	people []*resident
	idle   int         // users who have signed in once and do nothing
	pinned []*resident // those with a Hello key
	keys   *soakKeys
	calls  []soakCall
	weight int // of all calls
	begin  time.Time
	cells  *tally.Count
	ended  map[string]int // by call and outcome
	device string
	down   int    // calls until the device is enabled again
	plant  func() // runs after each call; nil: nothing
	dir    string // of the state

	steps    int
	problems []string

	mu     sync.Mutex // guards what follows
	faults bool
	line   *rand.Rand
	hit    int // requests that failed
	lost   int // those of them that the service handled
}

// A resident is one of the users.
type resident struct {
	name, password string
	acct           broker.Account
	out            bool // not signed in
	disabled       bool
	pin            broker.PIN
}

// newSoak is a machine where everybody has signed in, some with a PIN, and some to do
// nothing from then on.
func newSoak(t testing.TB, accounts, idle int, cells *tally.Count, seed uint64) *soak {
	t.Helper()
	s := &soak{r: rand.New(rand.NewPCG(seed, 0)), line: rand.New(rand.NewPCG(seed, 1)), dir: filepath.Join(t.TempDir(), "state"), cells: cells, ended: map[string]int{}, calls: soakCalls(accounts), idle: idle}
	for i := range accounts + idle {
		s.people = append(s.people, &resident{name: fmt.Sprintf("user%d@contoso.example", i), password: password, pin: rightPIN})
	}
	for _, c := range s.calls {
		s.weight += c.weight
	}
	s.world = newWorld(t, quiet, func(w *world, o *entratest.Options) {
		w.store = fileStore(t, s.dir)
		s.keys = newSoakKeys(t, w.clock.Now)
		w.keys = s.keys
		o.SignInLog = 16 // what the emulator remembers is in the heap too
		for _, p := range s.people {
			o.Users = append(o.Users, entratest.User{Username: p.name, Password: p.password, TOTPSecret: totp})
		}
	})
	s.cfg.InsecureSoftwareHello, s.cfg.KeepTokens, s.cfg.Offline = true, true, aWeek
	s.reopen()
	s.device = s.join().ID
	s.begin = s.clock.Now()
	for _, p := range s.people {
		require.NoError(t, signsIn(t.Context(), s, p))
	}
	s.people = s.people[:accounts]
	s.pinned = s.people[:min(40, 1+accounts/16)] // an RSA key takes its time
	for _, p := range s.pinned {
		require.NoError(t, provisions(t.Context(), s, p, s.b.ProvisionHello))
		require.NoError(t, unlocksNow(t.Context(), s, p))
	}
	s.disturb(true)
	s.cfg.Transport = faultyLine{s}
	s.reopen()
	return s
}

// step lets time pass and makes a call, and another one if that is what users do next.
func (s *soak) step(ctx context.Context) {
	s.pass()
	if s.down--; s.down == 0 {
		require.NoError(s.t, s.srv.EnableDevice(s.device))
	}
	c := s.drawCall()
	who := s.people
	if c.pinned {
		who = s.pinned
	}
	p := who[s.r.IntN(len(who))]
	if p.disabled {
		defer s.enable(p)
	}
	if p.out {
		s.call(ctx, soakCall{name: "a sign-in", do: signsIn}, p)
		return
	}
	err := s.call(ctx, c, p)
	switch {
	case errors.Is(err, broker.ErrLocked):
		s.call(ctx, soakCall{name: "an unlock", do: unlocksNow}, p)
	case errors.Is(err, broker.ErrInteractionRequired) && s.r.IntN(2) == 0:
		s.call(ctx, soakCall{name: "a sign-in", do: signsIn}, p)
	}
}

func (s *soak) enable(p *resident) {
	p.disabled = false
	require.NoError(s.t, s.srv.EnableUser(p.name))
}

func (s *soak) drawCall() soakCall {
	n := s.r.IntN(s.weight)
	for _, c := range s.calls {
		if n < c.weight {
			return c
		}
		n -= c.weight
	}
	panic("the weights are more than their sum")
}

// pass lets time pass: everybody has a turn every few days, and now and then all are
// away for two months.
func (s *soak) pass() {
	s.steps++
	if s.age() > 9*year { // a device certificate lasts ten
		s.clock.Advance(time.Second)
		return
	}
	if s.steps%(4*len(s.people)) == 0 {
		s.clock.Advance(60 * 24 * time.Hour)
	}
	s.clock.Advance(time.Duration(s.r.Int64N(int64(8*24*time.Hour) / int64(len(s.people)))))
}

func (s *soak) age() time.Duration { return s.clock.Now().Sub(s.begin) }

// call makes a call, and counts how it ended. Its error must be one that callers can
// test for, and none of those that say that something was lost.
func (s *soak) call(ctx context.Context, c soakCall, p *resident) error {
	err := c.do(ctx, s, p)
	s.wire.take()
	ended := kindOf(err)
	var ours *broker.Error
	var page *entratest.PageError // of the prompter, which the caller knows
	if errors.As(err, &page) {
		ended = "what the page said"
	}
	s.ended[c.name+": "+ended]++
	switch {
	case err == nil:
	case !isKind(ended) && page == nil, !errors.As(err, &ours):
		s.complain("%s ended in an error without a type: %v", c.name, err)
		return err
	case errors.Is(err, broker.ErrStateDamaged), errors.Is(err, broker.ErrKeyUnusable), errors.Is(err, broker.ErrDeviceNotRegistered),
		errors.Is(err, broker.ErrDeviceGone), errors.Is(err, broker.ErrSeveralAccounts), errors.Is(err, broker.ErrClosed):
		s.complain("%s lost something: %v", c.name, err)
		return err
	}
	s.cells.Cell(true)
	if s.plant != nil {
		s.plant()
	}
	return err
}

func (s *soak) complain(format string, args ...any) {
	s.cells.Cell(false)
	if len(s.problems) < 20 {
		s.problems = append(s.problems, fmt.Sprintf(format, args...))
	}
}

// rest brings everybody back in without faults, and takes a reading. Whatever happened,
// the machine serves every account again.
func (s *soak) rest(ctx context.Context) reading {
	s.disturb(false)
	defer s.disturb(true)
	if s.down > 0 {
		s.down = 0
		require.NoError(s.t, s.srv.EnableDevice(s.device))
	}
	s.clock.Advance(time.Hour) // what is throttled or locked ends
	for _, p := range s.people {
		if p.disabled {
			s.enable(p)
		}
		_, err := s.b.AcquireTokenSilent(ctx, open, broker.WithAccount(p.acct))
		if errors.Is(err, broker.ErrLocked) {
			err = unlocksNow(ctx, s, p)
		}
		if err != nil {
			err = signsIn(ctx, s, p)
		}
		require.NoError(s.t, err, p.name)
		require.NoError(s.t, forced(ctx, s, p), p.name)
		s.cells.Cell(true)
	}
	s.wire.take()
	broker.WaitBackground(s.b)
	s.wire.inner.(*http.Client).CloseIdleConnections()
	s.person.client.CloseIdleConnections()
	r := read(s.t, s.dir)
	state, err := s.srv.State()
	require.NoError(s.t, err)
	r.service = len(state)
	require.Len(s.t, s.srv.Devices(), 1)
	require.LessOrEqual(s.t, r.logs, len(s.people)+s.idle)
	require.Less(s.t, r.log, longestLog)
	return r
}

// readings are how often a half of a life is measured.
const readings = 4

// parts are into how many parts a life is divided. The first ones are for everything
// to happen once; each of the others ends with a reading.
const parts = 3 * readings

// live goes through a life, while goesOn(part) lets it, and returns what was read in
// the two halves that follow its beginning.
func (s *soak) live(ctx context.Context, goesOn func(part int) bool) (first, second []reading) {
	var all []reading
	for part := range parts {
		for goesOn(part) {
			s.step(ctx)
		}
		if part < readings {
			continue
		}
		r := s.rest(ctx)
		s.t.Logf("after %.1f years and %d calls: %+v", float64(s.age())/float64(year), s.cells.Cells(), r)
		all = append(all, r)
	}
	return all[:readings], all[readings:]
}

// run lives a life of so many calls in so many parts, or for as long as the budget
// lasts unless that is zero, and says what has grown.
func (s *soak) run(ctx context.Context, calls int, until time.Time) (leaks []string) {
	began := time.Now()
	goesOn := func(part int) bool { return s.steps < calls*(part+1)/parts }
	if !until.IsZero() {
		goesOn = func(part int) bool { return time.Since(began) < until.Sub(began)*time.Duration(part+1)/parts }
	}
	first, second := s.live(ctx, goesOn)
	leaks = grown(first, second, len(s.people))
	m := margins(most(first), len(s.people))
	half := s.cells.Cells() * readings / parts
	s.t.Logf("%d calls, %d requests failed, %d of them handled, %.1f years; seen would be %d bytes of heap or %d of state in each call",
		s.cells.Cells(), s.hit, s.lost, float64(s.age())/float64(year), m.heap/half, m.bytes/half)
	return leaks
}

// Years of a machine with many accounts leave nothing behind: what the second half
// takes up, of memory, goroutines, descriptors and disk, is what the first took up.
// One request of twenty fails; each call ends in a result or an error of its type; and
// whatever happened, each account is served when the network is well again.
func TestSoak(t *testing.T) {
	inMemoryFiles(t)
	accounts, calls := 16, 720
	if testing.Short() {
		accounts, calls = 6, 180
	}
	idle := 0
	var until time.Time
	if budget := tally.Budget(); budget > 0 {
		// Only so many make enough calls to be what they stay like.
		accounts = min(1000, 16+int(budget.Seconds()/2.5))
		idle, until = 1000-accounts, time.Now().Add(budget)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	cells := tally.New(t, "soak", fmt.Sprintf("a call in the life of a machine with %d accounts", accounts+idle))
	s := newSoak(t, accounts, idle, cells, seed)
	leaks := s.run(t.Context(), calls, until)
	for _, how := range slices.Sorted(maps.Keys(s.ended)) {
		t.Logf("%6d %s", s.ended[how], how)
	}
	require.Empty(t, s.problems)
	require.Empty(t, leaks)
	require.Greater(t, s.age(), year/2)
}

// inMemoryFiles puts the directories of t where writes cost no disk.
func inMemoryFiles(t *testing.T) {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		t.Setenv("TMPDIR", "/dev/shm")
	}
}

// What leaks a little in each call is seen.
func TestSoakSeesLeaks(t *testing.T) {
	if testing.Short() {
		t.Skip("one more life")
	}
	inMemoryFiles(t)
	s := newSoak(t, 4, 0, &tally.Count{}, 1)
	end := make(chan struct{})
	defer close(end)
	var kept [][]byte
	var opened []*os.File
	calls := 0
	s.plant = func() {
		calls++
		kept = append(kept, make([]byte, 4<<10))
		if calls%4 != 0 {
			return
		}
		go func() { <-end }()
		f, err := os.Create(filepath.Join(s.dir, fmt.Sprintf("leak%d", calls)))
		require.NoError(t, err)
		_, err = f.Write(make([]byte, 4<<10))
		require.NoError(t, err)
		opened = append(opened, f)
	}
	leaks := s.run(t.Context(), 200, time.Time{})
	for _, f := range opened {
		require.NoError(t, f.Close())
	}
	runtime.KeepAlive(kept)
	t.Log(strings.Join(leaks, "\n"))
	want := []string{"bytes of heap", "goroutines", "bytes of state", "files of state"}
	if descriptors() > 0 {
		want = append(want, "open descriptors")
	}
	for _, what := range want {
		require.True(t, slices.ContainsFunc(leaks, func(l string) bool { return strings.HasPrefix(l, what) }), "%s: not seen", what)
	}
}
