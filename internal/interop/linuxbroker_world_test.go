package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	prtbroker "github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/dbus"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/internal/bustest"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

const (
	cliApp     = "04b07795-8ddb-461a-bbee-02f9e1bf7b46" // Microsoft Azure CLI
	deskPwd    = "correct horse battery staple"
	deskPolicy = `{"value":[
 {"id":"99999999-0000-4000-8000-000000000001","displayName":"MFA for payroll","state":"enabled",
  "conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["7a11e51e-00aa-4000-8000-000000000001"]},"clientAppTypes":["all"]},
  "grantControls":{"operator":"OR","builtInControls":["mfa"]}},
 {"id":"99999999-0000-4000-8000-000000000002","displayName":"Nobody into the vault","state":"enabled",
  "conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["7a11e51e-00aa-4000-8000-000000000002"]},"clientAppTypes":["all"]},
  "grantControls":{"operator":"OR","builtInControls":["block"]}}]}`
)

// A desk is a Linux desktop: a session bus with this project's broker on it, a
// keyring, a screen, and a tenant. A person sits there.
type desk struct {
	srv    *entratest.Server
	b      *prtbroker.Broker
	bus    *bustest.Bus
	person *sitter
	env    []string
	dir    string
	device string
}

// newDesk enrols a machine for alice.
func newDesk(t *testing.T) *desk {
	t.Helper()
	return newDeskOn(t, (*desk).serve)
}

// newDeskOn is newDesk with the broker put on the bus by serve.
func newDeskOn(t *testing.T, serve func(*desk, *testing.T)) *desk {
	t.Helper()
	d := &desk{dir: t.TempDir(), bus: bustest.Start(t)}
	d.srv = entratest.NewTB(t, entratest.Options{
		ReplicationLag: -1, Policies: []byte(deskPolicy), Logf: func(string, ...any) {},
		Users: []entratest.User{
			{Username: "alice", Name: "Alice Example", Password: deskPwd, TOTPSecret: aliceOTP},
			{Username: "bob", Name: "Bob Example", Password: deskPwd, TOTPSecret: aliceOTP},
		},
		Apps: []entratest.App{
			{ClientID: appID, Name: "The app", Public: true, Redirects: []string{native}, AdminConsent: true},
			{ClientID: "7a11e51e-00aa-4000-8000-000000000001", Name: "Payroll", URIs: []string{"api://payroll"}},
			{ClientID: "7a11e51e-00aa-4000-8000-000000000002", Name: "Vault", URIs: []string{"api://vault"}},
		},
	})
	keys, err := softkeys.Open(softkeys.Secret(make([]byte, 32)))
	require.NoError(t, err)
	d.person = &sitter{Person: entratest.Person{Username: alice, Password: deskPwd, TOTPSecret: aliceOTP}, client: d.srv.Client()}
	d.b, err = prtbroker.New(t.Context(), prtbroker.Config{
		Tenant: "contoso.example", Keys: keys, Transport: d.srv.Transport(), Prompter: d.person, Device: prtbroker.DeviceInfo{DisplayName: "desk-1"},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = d.b.Close(), keys.Close() })
	_, err = d.b.Enroll(t.Context(), prtbroker.Password{Username: alice, Password: deskPwd}, prtbroker.EnrollRequest{})
	require.NoError(t, err)
	st, err := d.b.Status(t.Context())
	require.NoError(t, err)
	d.device = st.Device.ID
	serve(d, t)
	d.env = append(d.bus.Env(), "HOME="+d.dir, "XDG_DATA_HOME="+d.dir, "XDG_RUNTIME_DIR="+d.dir, "XDG_CONFIG_HOME="+d.dir)
	d.keyring(t)
	d.screen(t)
	return d
}

// serve puts the broker on the bus.
func (d *desk) serve(t *testing.T) {
	t.Helper()
	d.serveOn(t, d.bus)
}

// proxied puts the broker on another bus, as that of a host, and dsreg between
// that and the bus of the desk.
func (d *desk) proxied(t *testing.T) {
	t.Helper()
	host := bustest.Start(t)
	d.serveOn(t, host)
	program := filepath.Join(d.dir, "dsreg")
	out, err := exec.Command("go", "build", "-C", filepath.Join("..", ".."), "-o", program, "./examples/dsreg").CombinedOutput()
	require.NoError(t, err, "%s", out)
	proxy := exec.Command(program, "broker", "proxy", "--broker", host.Address)
	proxy.Env = d.bus.Env()
	said, err := proxy.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, proxy.Start())
	t.Cleanup(func() {
		_ = proxy.Process.Signal(os.Interrupt)
		_ = proxy.Wait()
	})
	line, err := bufio.NewReader(said).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "serving the broker of")
}

func (d *desk) serveOn(t *testing.T, bus *bustest.Bus) {
	t.Helper()
	ready := make(chan struct{}, 1)
	s := &dbus.Service{Handler: &dbus.Handler{Broker: dbus.OwnUser(d.b)}, Address: bus.Address, Ready: func() { ready <- struct{}{} }}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	select {
	case <-ready:
	case err := <-done:
		done <- err
		require.NoError(t, err)
	}
}

// keyring starts a Secret Service, in which msalruntime keeps its accounts.
func (d *desk) keyring(t *testing.T) {
	t.Helper()
	unlock := exec.Command("gnome-keyring-daemon", "--login")
	unlock.Env, unlock.Stdin = d.env, strings.NewReader("keyring")
	out, err := unlock.Output()
	require.NoError(t, err, "gnome-keyring-daemon")
	_ = out
	start := exec.Command("gnome-keyring-daemon", "--start", "--components=secrets")
	start.Env = d.env
	out, err = start.Output()
	require.NoError(t, err, "%s", out)
	t.Cleanup(func() {
		stop := exec.Command("gdbus", "call", "--address", d.bus.Address, "--dest", "org.freedesktop.DBus", "--object-path", "/",
			"--method", "org.freedesktop.DBus.GetConnectionUnixProcessID", "org.freedesktop.secrets")
		if pid, err := stop.Output(); err == nil {
			fields := strings.FieldsFunc(string(pid), func(r rune) bool { return r < '0' || r > '9' })
			if len(fields) > 1 {
				_ = exec.Command("kill", fields[len(fields)-1]).Run()
			}
		}
	})
}

// screen starts an X server without a screen.
func (d *desk) screen(t *testing.T) {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	x := exec.Command("Xvfb", "-displayfd", "3", "-nolisten", "tcp", "-screen", "0", "800x600x24")
	x.ExtraFiles = []*os.File{w}
	require.NoError(t, x.Start())
	t.Cleanup(func() { _, _ = x.Process.Kill(), x.Wait() })
	require.NoError(t, w.Close())
	number, err := bufio.NewReader(r).ReadString('\n')
	require.NoError(t, err, "Xvfb")
	require.NoError(t, r.Close())
	d.env = append(d.env, "DISPLAY=:"+strings.TrimSpace(number))
}

// A sitter is the person at the desk.
type sitter struct {
	entratest.Person
	client *http.Client
	asked  atomic.Int32
	leave  atomic.Bool // the person goes away
}

// Authorize implements [broker.Prompter].
func (s *sitter) Authorize(ctx context.Context, url, prefix string) (string, error) {
	s.asked.Add(1)
	if s.leave.Load() {
		// msalruntime sends a cancel before its call or after the reply to it:
		// in the second order only the person can end the call.
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(2 * time.Second):
			return "", prtbroker.ErrUserCanceled
		}
	}
	return s.Person.Authorize(ctx, s.client, url, prefix)
}

// DeviceCode implements [broker.Prompter].
func (s *sitter) DeviceCode(context.Context, prtbroker.DeviceCode) error {
	return errors.ErrUnsupported
}

// PIN implements [broker.Prompter].
func (s *sitter) PIN(context.Context, prtbroker.Account) (prtbroker.PIN, error) {
	return nil, errors.ErrUnsupported
}

// proxy is the way of programs that make HTTP requests of their own to the
// tenant: a CONNECT proxy that knows no other host. It returns their
// environment.
func (d *desk) proxy(t *testing.T) []string {
	t.Helper()
	ca := filepath.Join(d.dir, "ca.pem")
	require.NoError(t, os.WriteFile(ca, d.srv.CA(), 0o600))
	p := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "CONNECT only", http.StatusMethodNotAllowed)
			return
		}
		up, err := d.srv.DialContext(r.Context(), "tcp", r.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		down, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			_ = up.Close()
			return
		}
		_, _ = io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n")
		go relay(up, down)
		relay(down, up)
	}))
	t.Cleanup(p.Close)
	return []string{
		"HTTPS_PROXY=" + p.URL, "https_proxy=" + p.URL, "NO_PROXY=", "no_proxy=", "REQUESTS_CA_BUNDLE=" + ca, "SSL_CERT_FILE=" + ca,
		"CURL_CA_BUNDLE=" + ca, "NODE_EXTRA_CA_CERTS=" + ca,
	}
}

func relay(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
}

// A driven program answers lines of JSON.
type driven struct {
	in  io.WriteCloser
	out *bufio.Scanner
}

func (d *desk) drive(t *testing.T, env []string, name string, args ...string) *driven {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(append([]string{}, d.env...), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p := &driven{in: in, out: bufio.NewScanner(out)}
	p.out.Buffer(nil, 1<<20)
	t.Cleanup(func() {
		_ = in.Close()
		end := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		end.Stop()
	})
	return p
}

func (p *driven) send(t *testing.T, v any) {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	_, err = p.in.Write(append(text, '\n'))
	require.NoError(t, err)
}

func (p *driven) read(t *testing.T, into any) {
	t.Helper()
	require.True(t, p.out.Scan(), "the program ended: %v", p.out.Err())
	require.NoError(t, json.Unmarshal(p.out.Bytes(), into), "%s", p.out.Bytes())
}

// python is the interpreter that has the clients.
func python(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(".tools", "venv", "bin", "python"))
	require.NoError(t, err)
	return path
}
