package broker_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
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
}

// A resident is one of the users.
type resident struct {
	name, password string
	acct           broker.Account
	out            bool // not signed in
	disabled       bool
	pin            broker.PIN
}

// A soakCall is an operation, and how often it is made.
type soakCall struct {
	name   string
	weight int
	do     func(context.Context, *soak, *resident) error
	pinned bool // by those with a Hello key
}

// soakCalls are all calls. Those that go through all accounts are made so rarely that
// they come to as much work as the others.
func soakCalls(accounts int) []soakCall {
	rare := max(1, 500/accounts)
	return []soakCall{
		{"a token", 250, func(ctx context.Context, s *soak, p *resident) error {
			_, err := s.b.AcquireTokenSilent(ctx, s.scopes(), broker.WithAccount(p.acct))
			return err
		}, false},
		{"a new token", 100, func(ctx context.Context, s *soak, p *resident) error {
			_, err := s.b.AcquireTokenSilent(ctx, s.scopes(), broker.WithAccount(p.acct), broker.WithForceRefresh())
			return err
		}, false},
		{"a token after a claims challenge", 20, func(ctx context.Context, s *soak, p *resident) error {
			claims := fmt.Sprintf(`{"access_token":{"nbf":{"essential":true,"value":"%d"}}}`, s.clock.Now().Unix())
			_, err := s.b.AcquireTokenSilent(ctx, open, broker.WithAccount(p.acct), broker.WithClaims(claims))
			return err
		}, false},
		{"tokens of eight callers at once", 20, eightAtOnce, false},
		{"a token bound to a key", 10, func(ctx context.Context, s *soak, p *resident) error {
			proof := broker.PoP{Method: "GET", URL: fmt.Sprintf("https://open.example/%d", s.r.IntN(1000))}
			res, err := s.b.AcquireTokenSilent(ctx, open, broker.WithAccount(p.acct), broker.WithPoP(proof))
			if err != nil {
				return err
			}
			_, err = s.b.SignedHTTPRequest(ctx, res.AccessToken, proof)
			return err
		}, false},
		{"a token for another process", 20, anotherProcess, false},
		{"a step-up", 20, func(ctx context.Context, s *soak, p *resident) error {
			s.sits(p)
			_, err := s.b.AcquireTokenInteractive(ctx, payroll, broker.WithAccount(p.acct))
			return err
		}, false},
		{"a device code", 5, func(ctx context.Context, s *soak, _ *resident) error {
			_, err := s.b.AcquireTokenByDeviceCode(ctx, open) // which nobody enters
			return err
		}, false},
		{"cookies", 30, func(ctx context.Context, s *soak, p *resident) error {
			_, err := s.b.SSOCookies(ctx, "https://login.microsoftonline.com/common/oauth2/authorize", broker.WithAccount(p.acct))
			return err
		}, false},
		{"a renewal", 80, func(ctx context.Context, s *soak, p *resident) error { return s.b.RenewPRT(ctx, p.acct) }, false},
		{"Run", rare, func(ctx context.Context, s *soak, _ *resident) error { return runOnce(ctx, &life{world: s.world}) }, false},
		{"the accounts", rare, func(ctx context.Context, s *soak, _ *resident) error { _, err := s.b.Accounts(ctx); return err }, false},
		{"the status", rare, func(ctx context.Context, s *soak, _ *resident) error { _, err := s.b.Status(ctx); return err }, false},
		{"the status of the PRT", 30, func(ctx context.Context, s *soak, p *resident) error {
			_, err := s.b.PRTStatus(ctx, p.acct)
			return err
		}, false},
		{"the sign-in log", 10, func(ctx context.Context, s *soak, p *resident) error {
			_, err := s.b.SignInLog(ctx, p.acct)
			return err
		}, false},
		{"why", 10, func(ctx context.Context, s *soak, p *resident) error {
			_, err := s.b.Why(ctx, broker.WhyInput{Account: p.acct, Scopes: payroll})
			return err
		}, false},
		{"a sign-in", 30, signsIn, false},
		{"a sign-in with MFA", 20, signsInWithMFA, false},
		{"a sign-in with the PIN", 20, func(ctx context.Context, s *soak, p *resident) error {
			_, err := s.b.SignIn(ctx, broker.HelloPIN{PIN: p.pin}, broker.WithAccount(p.acct))
			return err
		}, true},
		{"a wrong password", 5, func(ctx context.Context, s *soak, p *resident) error {
			_, err := s.b.SignIn(ctx, broker.Password{Username: p.name, Password: "wrong"})
			return err
		}, false},
		{"a new Hello key", 20, func(ctx context.Context, s *soak, p *resident) error {
			return provisions(ctx, s, p, s.b.ProvisionHello)
		}, true},
		{"a reset of the PIN", 5, func(ctx context.Context, s *soak, p *resident) error {
			return provisions(ctx, s, p, s.b.ResetPIN)
		}, true},
		{"a change of the PIN", 5, changesPIN, true},
		{"no Hello key any more", 5, func(ctx context.Context, s *soak, p *resident) error { return s.b.RemoveHello(ctx, p.acct) }, true},
		{"an unlock", 60, unlocksNow, true},
		{"an unlock offline", 40, func(ctx context.Context, s *soak, p *resident) error {
			s.wire.set(func(*http.Request) error { return errCut }, nil)
			defer s.wire.set(nil, nil)
			return unlocksNow(ctx, s, p)
		}, true},
		{"a wrong PIN", 10, func(ctx context.Context, s *soak, p *resident) error {
			_, err := s.b.Unlock(ctx, p.acct, wrongPIN)
			return err
		}, true},
		{"a lock", 40, func(ctx context.Context, s *soak, p *resident) error { return s.b.Lock(ctx, p.acct) }, true},
		{"a sign-out", 20, func(ctx context.Context, s *soak, p *resident) error {
			err := s.b.RemoveAccount(ctx, p.acct)
			p.out = p.out || err == nil
			return err
		}, false},
		{"a token after a password change", 10, func(ctx context.Context, s *soak, p *resident) error {
			p.password = fmt.Sprintf("correct horse battery %d", s.r.Uint64())
			require.NoError(s.t, s.srv.ChangePassword(p.name, p.password))
			return forced(ctx, s, p)
		}, false},
		{"a token after the sessions were revoked", 10, func(ctx context.Context, s *soak, p *resident) error {
			require.NoError(s.t, s.srv.Revoke(p.name))
			return forced(ctx, s, p)
		}, false},
		{"a token of a disabled user", 10, func(ctx context.Context, s *soak, p *resident) error {
			require.NoError(s.t, s.srv.DisableUser(p.name))
			p.disabled = true // until the next call for this user has failed too
			return forced(ctx, s, p)
		}, false},
		{"a token on a disabled device", 5, func(ctx context.Context, s *soak, p *resident) error {
			require.NoError(s.t, s.srv.DisableDevice(s.device))
			s.down = 5
			return forced(ctx, s, p)
		}, false},
	}
}

func (s *soak) scopes() []string { return [][]string{graph, open, payroll, ledger}[s.r.IntN(4)] }

// sits puts a user in front of the machine.
func (s *soak) sits(p *resident) {
	s.person.Person = entratest.Person{Username: p.name, Password: p.password, TOTPSecret: totp}
	s.person.pin = p.pin
}

func forced(ctx context.Context, s *soak, p *resident) error {
	_, err := s.b.AcquireTokenSilent(ctx, open, broker.WithAccount(p.acct), broker.WithForceRefresh())
	return err
}

func signsIn(ctx context.Context, s *soak, p *resident) error {
	return s.came(p)(s.b.SignIn(ctx, broker.Password{Username: p.name, Password: p.password}))
}

func signsInWithMFA(ctx context.Context, s *soak, p *resident) error {
	s.sits(p)
	return s.came(p)(s.b.SignIn(ctx, broker.AuthCode{LoginHint: p.name, MFA: true}))
}

// came notes who signed in.
func (s *soak) came(p *resident) func(broker.AuthResult, error) error {
	return func(res broker.AuthResult, err error) error {
		if err == nil {
			p.acct, p.out = res.Account, false
		}
		return err
	}
}

func unlocksNow(ctx context.Context, s *soak, p *resident) error {
	_, err := s.b.Unlock(ctx, p.acct, p.pin)
	return err
}

// provisions makes a Hello key under the PIN that all keys have at first, so that there
// are few.
func provisions(ctx context.Context, s *soak, p *resident, by func(context.Context, broker.Account, broker.PIN) error) error {
	s.sits(p)
	s.keys.owner = p.name
	err := by(ctx, p.acct, rightPIN)
	if err == nil {
		p.pin = rightPIN
	}
	return err
}

func changesPIN(ctx context.Context, s *soak, p *resident) error {
	next := rightPIN
	if string(p.pin) == string(rightPIN) {
		next = otherPIN
	}
	err := s.b.ChangePIN(ctx, p.acct, p.pin, next)
	if err == nil {
		p.pin = next
	}
	return err
}

func eightAtOnce(ctx context.Context, s *soak, p *resident) error {
	var all sync.WaitGroup
	errs := make([]error, 8)
	scopes := s.scopes()
	for i := range errs {
		all.Go(func() {
			_, errs[i] = s.b.AcquireTokenSilent(ctx, scopes, broker.WithAccount(p.acct), broker.WithForceRefresh())
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func anotherProcess(ctx context.Context, s *soak, p *resident) error {
	b, err := broker.New(ctx, s.cfg)
	if err != nil {
		return err
	}
	broker.SetSleep(b, s.sleep)
	_, err = b.AcquireTokenSilent(ctx, s.scopes(), broker.WithAccount(p.acct))
	return errors.Join(err, b.Close())
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

// soakFaults are what happens to one request of twenty.
var soakFaults = []httpFault{
	{name: "connection refused", dial: func() (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}},
	{name: "reset before anything is sent", unread: true},
	{name: "reset after the service handled it", serve: func(_ net.Conn, service func() *http.Response) { service() }},
	{name: "503", serve: says(503, portalPage, "Content-Type: text/html")},
	{name: "503 of the service", serve: says(503, busy, "Content-Type: application/json", "Retry-After: 30")},
	{name: "garbage as JSON", serve: says(200, "\x00\xff{]}\"garbage", "Content-Type: application/json")},
	{name: "a portal's page", serve: says(200, portalPage, "Content-Type: text/html")},
	{name: "a portal's redirect", serve: says(302, portalPage, "Content-Type: text/html", "Location: http://portal.example/login")},
}

// faultyLine is the network of a soak.
type faultyLine struct{ s *soak }

func (l faultyLine) Do(r *http.Request) (*http.Response, error) {
	f := l.s.fault()
	if f == nil {
		return l.s.wire.Do(r)
	}
	return f.do(r, func() *http.Response {
		res, err := l.s.wire.Do(r)
		if err != nil { // the line was cut
			return &http.Response{StatusCode: 502, Header: http.Header{}, Body: http.NoBody}
		}
		return res
	})
}

// disturb lets requests fail, or not.
func (s *soak) disturb(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = on
}

// fault is what happens to the next request; nil: nothing.
func (s *soak) fault() *httpFault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.faults || s.line.IntN(20) != 0 {
		return nil
	}
	s.hit++
	return &soakFaults[s.line.IntN(len(soakFaults))]
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
	if s.age() > 9*year { // a device certificate lasts ten
		s.clock.Advance(time.Second)
		return
	}
	if s.steps++; s.steps%(4*len(s.people)) == 0 {
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
	s.t.Logf("%d calls, %d requests failed, %.1f years; seen would be %d bytes of heap or %d of state in each call",
		s.cells.Cells(), s.hit, float64(s.age())/float64(year), m.heap/half, m.bytes/half)
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
	for _, what := range []string{"bytes of heap", "goroutines", "open descriptors", "bytes of state", "files of state"} {
		require.True(t, slices.ContainsFunc(leaks, func(l string) bool { return strings.HasPrefix(l, what) }), "%s: not seen", what)
	}
}
