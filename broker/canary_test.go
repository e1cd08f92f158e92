package broker_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/internal/canary"
	"github.com/prtbroker/prtbroker/internal/proof/tally"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// PINs as long as a secret that a search does not find by chance.
const (
	canaryPIN  = "canary-PIN-271828182845904"
	wrongerPIN = "wrong-PIN-314159265358979"
	newerPIN   = "newer-PIN-161803398874989"
)

// A birdcage collects the secrets of a machine while they pass.
type birdcage struct {
	mu   sync.Mutex // guards set and seen
	set  canary.Set
	seen map[string]int // how many of each kind

	transport *rsa.PrivateKey // nil: in a TPM
}

func (c *birdcage) keep(kind string, secret []byte) {
	if _, behind, ok := bytes.Cut(secret, []byte{'.'}); ok && bytes.HasPrefix(secret, []byte("eyJ")) {
		secret = behind // the header of a JWT is the same in all
	}
	if len(secret) < canary.MinSize {
		return // no such secret
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = map[string]int{}
	}
	c.seen[kind]++
	c.set.Add(fmt.Sprintf("%s %d", kind, c.seen[kind]), secret)
}

// Do is a transport that reads what passes.
type tapped struct {
	broker.Transport
	cage *birdcage
}

func (t tapped) Do(r *http.Request) (*http.Response, error) {
	t.cage.request(r)
	rep, err := t.Transport.Do(r)
	if err != nil {
		return rep, err
	}
	body, err := io.ReadAll(rep.Body)
	_ = rep.Body.Close()
	if err != nil {
		return nil, err
	}
	rep.Body = io.NopCloser(bytes.NewReader(body))
	var members map[string]any
	if json.Unmarshal(body, &members) == nil {
		for _, name := range []string{"access_token", "refresh_token", "id_token"} {
			if s, ok := members[name].(string); ok {
				t.cage.keep(name+" of a reply", []byte(s))
			}
		}
	}
	return rep, nil
}

func (c *birdcage) request(r *http.Request) {
	if p := prtOf(r); p != "" {
		c.keep("PRT", []byte(p))
	}
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		c.keep("bearer token", []byte(bearer))
	}
	if r.GetBody == nil {
		return
	}
	body, err := r.GetBody()
	if err != nil {
		return
	}
	raw, _ := io.ReadAll(body)
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return
	}
	for _, name := range []string{"refresh_token", "assertion", "code", "device_code", "code_verifier"} {
		c.keep(name, []byte(form.Get(name)))
	}
	if _, signature, ok := strings.Cut(strings.TrimLeft(form.Get("request"), "."), "."); ok {
		_, signature, _ = strings.Cut(signature, ".")
		c.keep("signature of a request", []byte(signature))
	}
}

// spied watches the session keys and the sealed secrets of a key store.
type spied struct {
	keys tpm.KeyStore
	cage *birdcage
}

func (s spied) unwrap(ctx context.Context, transport tpm.Key, wrapped []byte) (tpm.SessionKey, error) {
	if s.cage.transport != nil {
		key, err := rsa.DecryptOAEP(sha1.New(), nil, s.cage.transport, wrapped, nil)
		if err != nil {
			return nil, err
		}
		s.cage.keep("session key", key)
	}
	k, err := s.keys.UnwrapSession(ctx, transport, wrapped)
	if err != nil {
		return nil, err
	}
	return spiedKey{k, s.cage}, nil
}

func (s spied) open(ctx context.Context, blob []byte) (tpm.SessionKey, error) {
	k, err := s.keys.OpenSession(ctx, blob)
	if err != nil {
		return nil, err
	}
	return spiedKey{k, s.cage}, nil
}

func (s spied) seal(ctx context.Context, plain, aad []byte) ([]byte, error) {
	s.cage.keep("root key", plain)
	return s.keys.Seal(ctx, plain, aad)
}

// The two key stores keep what else they can do.
type spiedSoftware struct {
	*softkeys.Store
	spied spied
}

func (s spiedSoftware) UnwrapSession(ctx context.Context, transport tpm.Key, wrapped []byte) (tpm.SessionKey, error) {
	return s.spied.unwrap(ctx, transport, wrapped)
}

func (s spiedSoftware) OpenSession(ctx context.Context, blob []byte) (tpm.SessionKey, error) {
	return s.spied.open(ctx, blob)
}

func (s spiedSoftware) Seal(ctx context.Context, plain, aad []byte) ([]byte, error) {
	return s.spied.seal(ctx, plain, aad)
}

type spiedTPM struct {
	*tpmtest.Store
	spied spied
}

func (s spiedTPM) UnwrapSession(ctx context.Context, transport tpm.Key, wrapped []byte) (tpm.SessionKey, error) {
	return s.spied.unwrap(ctx, transport, wrapped)
}

func (s spiedTPM) OpenSession(ctx context.Context, blob []byte) (tpm.SessionKey, error) {
	return s.spied.open(ctx, blob)
}

func (s spiedTPM) Seal(ctx context.Context, plain, aad []byte) ([]byte, error) {
	return s.spied.seal(ctx, plain, aad)
}

type spiedKey struct {
	tpm.SessionKey
	cage *birdcage
}

func (k spiedKey) Derive(ctx context.Context, label, context []byte) ([32]byte, error) {
	key, err := k.SessionKey.Derive(ctx, label, context)
	if err == nil {
		k.cage.keep("derived key", key[:])
	}
	return key, err
}

// spans writes what a tracer is told.
type spans struct{ out io.Writer }

func (t spans) Start(ctx context.Context, operation string) (context.Context, func(error)) {
	_, _ = fmt.Fprintln(t.out, operation)
	return ctx, func(err error) { _, _ = fmt.Fprintf(t.out, "%s: %v %+v\n", operation, err, err) }
}

// lockedBuffer is a buffer that goroutines share.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// No secret is in a log, in a trace, in an error, in a printed value, on disk or
// on the way to the TPM, whatever was done, in any encoding.
func TestCanary(t *testing.T) {
	t.Parallel()
	t.Run("software keys", func(t *testing.T) {
		cage := &birdcage{}
		soft := softwareKeys(t)
		out := aCanaryLife(t, cage, spiedSoftware{soft, spied{soft, cage}}, func(w *world) {
			device, err := rsa.GenerateKey(rand.Reader, 2048)
			require.NoError(t, err)
			cage.transport, err = rsa.GenerateKey(rand.Reader, 2048)
			require.NoError(t, err)
			p := w.registerElsewhere(t, prt.JoinEntra, device, cage.transport)
			in := broker.DeviceImport{Certificate: pemOf("CERTIFICATE", p.cert.DER), Key: pkcs8(t, device), TransportKey: pkcs8(t, cage.transport)}
			for _, key := range []*rsa.PrivateKey{device, cage.transport} {
				cage.keep("private key", key.D.Bytes())
				cage.keep("prime", key.Primes[0].Bytes())
			}
			_, err = w.b.ImportDevice(t.Context(), in)
			require.NoError(t, err)
			softwareHello(w)
		})
		searched(t, cage, out, "session key", "private key")
	})
	t.Run("swtpm", func(t *testing.T) {
		cage := &birdcage{}
		e := tpms.Swtpm(t)
		bus := tpmtest.NewRecording(e.Opener())
		keys, err := tpm.Open(t.Context(), bus.Opener(), tpm.Config{})
		require.NoError(t, err)
		t.Cleanup(func() { _ = keys.Close() })
		st := e.Store(keys)
		out := aCanaryLife(t, cage, spiedTPM{st, spied{st, cage}}, func(w *world) {
			w.cfg.Offline = aWeek
			require.NoError(t, w.b.Close())
			w.b = w.open()
			w.join()
		})
		require.Greater(t, len(bus.Messages()), 100)
		out["TPM bus"] = bytes.Join(bus.Messages(), nil)
		searched(t, cage, out, "root key")
	})
}

// searched looks for all secrets in all places. Each kind that must have passed
// is named, so that a test that collects nothing fails.
func searched(t *testing.T, cage *birdcage, out map[string][]byte, kinds ...string) {
	t.Helper()
	for _, kind := range append(kinds, "password", "PIN", "TOTP seed", "PRT", "access token", "id_token of a reply", "refresh_token", "cookie", "derived key", "bearer token", "code") {
		require.NotZero(t, cage.seen[kind], "no %s passed: %v", kind, cage.seen)
	}
	cells := tally.New(t, "secrets", "a secret of a flow and a place that is searched for it")
	for place, text := range out {
		require.NotEmpty(t, text, place)
		found := cage.set.Search(text)
		for _, f := range found {
			t.Errorf("%s: %s", place, f)
		}
		cells.Add(len(cage.set.Names()), len(cage.set.Names())-len(found))
	}
	// The control: each of them would be found there.
	planted := append(bytes.Repeat([]byte{'x'}, 999), "password: "+url.QueryEscape(password)...)
	require.NotEmpty(t, cage.set.Search(planted))
}

// aCanaryLife does with a machine all that users and apps do, well and badly, and
// returns what came out.
func aCanaryLife(t *testing.T, cage *birdcage, keys tpm.KeyStore, register func(*world)) map[string][]byte {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "state")
	w := newWorld(t, withKeys(keys), func(w *world, _ *entratestOptions) { w.store = fileStore(t, dir) })
	cage.keep("password", []byte(password))
	cage.keep("password", []byte("wrong-"+password))
	cage.keep("TOTP seed", []byte(totp))
	for _, pin := range []string{canaryPIN, wrongerPIN, newerPIN} {
		cage.keep("PIN", []byte(pin))
	}
	w.wire.inner = tapped{w.wire.inner, cage}
	var logs, traces, printed lockedBuffer
	w.cfg.Logger = slog.New(slog.NewMultiHandler(
		slog.NewJSONHandler(&logs, &slog.HandlerOptions{Level: slog.Level(-100), AddSource: true}),
		slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.Level(-100)}),
	))
	w.cfg.Tracer = spans{&traces}
	w.cfg.KeepTokens = true
	show := func(v any) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&printed, verb+"\n", v)
		}
		if j, err := json.Marshal(v); err == nil {
			_, _ = printed.Write(j)
		}
		w.cfg.Logger.Info("value", "value", v)
		if err, ok := v.(error); ok {
			for ; err != nil; err = errors.Unwrap(err) {
				fmt.Fprintf(&printed, "%v %+v %#v\n", err, err, err)
			}
		}
	}
	got := func(res broker.AuthResult, err error) broker.AuthResult {
		t.Helper()
		require.NoError(t, err)
		cage.keep("access token", []byte(res.AccessToken))
		cage.keep("id_token", []byte(res.IDToken))
		show(res)
		show(&res)
		return res
	}
	fails := func(err error) {
		t.Helper()
		var is *broker.Error
		require.ErrorAs(t, err, &is)
		show(err)
	}
	w.b = w.open()
	register(w)
	show(w.b)
	show(keys)

	// Sign-ins, good and bad.
	_, err := w.b.SignIn(ctx, broker.Password{Username: alice, Password: "wrong-" + password})
	require.ErrorIs(t, err, broker.ErrBadCredential)
	show(err)
	acct := got(w.b.SignIn(ctx, broker.Password{Username: alice, Password: password})).Account
	_, err = w.b.AcquireTokenSilent(ctx, payroll)
	fails(err)
	got(w.b.AcquireTokenInteractive(ctx, payroll))
	got(w.b.AcquireTokenSilent(ctx, graph))
	w.clock.Advance(5 * time.Hour)
	require.NoError(t, w.b.RenewPRT(ctx, acct))
	got(w.b.AcquireTokenSilent(ctx, open, broker.WithForceRefresh()))
	cookies, err := w.b.SSOCookies(ctx, "https://login.microsoftonline.com/")
	require.NoError(t, err)
	cage.keep("cookie", []byte(cookies[0].Value))
	_, err = w.b.SSOCookies(ctx, "https://login.microsoftonline.com.evil.example/")
	fails(err)
	dc, err := w.b.AcquireTokenByDeviceCode(ctx, open)
	require.NoError(t, err)
	show(dc)
	token := w.brokerRefreshToken(t)
	cage.keep("refresh_token", []byte(token))
	got(w.b.SignIn(ctx, broker.RefreshToken{Token: token}))
	_, err = w.b.SignIn(ctx, broker.RefreshToken{Token: "spoilt" + token})
	fails(err)
	for _, cred := range []any{
		broker.Password{Username: alice, Password: password}, &broker.Password{Username: alice, Password: password},
		broker.Federated{Username: alice, Password: password}, broker.RefreshToken{Token: password}, broker.PIN(password),
		broker.SAMLAssertion{Assertion: []byte(password)}, broker.DeviceImport{Key: []byte(password)}, &broker.DeviceImport{TransportKey: []byte(password)},
		broker.HelloPIN{PIN: broker.PIN(canaryPIN)}, &broker.HelloPIN{PIN: broker.PIN(canaryPIN)}, struct{ C broker.Credential }{&broker.HelloPIN{PIN: broker.PIN(canaryPIN)}},
	} {
		show(cred)
	}

	// The PIN.
	got(w.b.SignIn(ctx, broker.AuthCode{LoginHint: alice, MFA: true}))
	require.NoError(t, w.b.ProvisionHello(ctx, acct, broker.PIN(canaryPIN)))
	_, err = w.b.Unlock(ctx, acct, broker.PIN(wrongerPIN))
	require.ErrorIs(t, err, broker.ErrWrongPIN)
	show(err)
	unlocked, err := w.b.Unlock(ctx, acct, broker.PIN(canaryPIN))
	require.NoError(t, err)
	show(unlocked)
	got(w.b.SignIn(ctx, broker.HelloPIN{PIN: broker.PIN(canaryPIN)}))
	if w.cfg.Offline != (tpm.Limit{}) {
		require.NoError(t, w.b.Lock(ctx, acct))
		_, err = w.b.AcquireTokenSilent(ctx, graph)
		fails(err)
		_, err = w.b.Unlock(ctx, acct, broker.PIN(canaryPIN))
		require.NoError(t, err)
	}
	require.ErrorIs(t, w.b.ChangePIN(ctx, acct, broker.PIN(wrongerPIN), broker.PIN(newerPIN)), broker.ErrWrongPIN)
	require.NoError(t, w.b.ChangePIN(ctx, acct, broker.PIN(canaryPIN), broker.PIN(newerPIN)))
	hello, err := w.b.HelloStatus(ctx, acct)
	require.NoError(t, err)
	show(hello)

	// What the service and the way to it do wrong.
	w.wire.set(func(r *http.Request) error { return fmt.Errorf("proxy: cannot send to %s", r.URL.Host) }, nil)
	_, err = w.b.AcquireTokenSilent(ctx, ledger, broker.WithForceRefresh())
	fails(err)
	fails(w.b.RenewPRT(ctx, acct))
	w.wire.set(nil, nil)
	w.clock.Advance(time.Hour)

	// What there is to see.
	show(w.status(acct))
	s, err := w.b.Status(ctx)
	require.NoError(t, err)
	show(s)
	explained, err := w.b.Why(ctx, broker.WhyInput{Scopes: payroll})
	require.NoError(t, err)
	show(explained)
	log, err := w.b.SignInLog(ctx, acct)
	require.NoError(t, err)
	show(log)
	disk := diskOf(t, dir)
	require.NoError(t, w.b.RemoveHello(ctx, acct))
	require.NoError(t, w.b.RemoveAccount(ctx, acct))
	require.NoError(t, w.b.UnregisterDevice(ctx))
	show(w.b)
	require.NoError(t, w.b.Close())
	disk = append(disk, diskOf(t, dir)...)
	require.NotContains(t, string(disk), "alice")
	return map[string][]byte{"log": logs.b.Bytes(), "trace": traces.b.Bytes(), "printed": printed.b.Bytes(), "disk": disk}
}

// diskOf returns the names and the contents of all files below dir.
func diskOf(t *testing.T, dir string) (all []byte) {
	t.Helper()
	n := 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		n++
		raw, err := os.ReadFile(path)
		all = append(append(append(all, path...), '\n'), raw...)
		return err
	}))
	require.NotZero(t, n)
	return all
}
