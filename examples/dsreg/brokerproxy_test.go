package main

import (
	"bytes"
	"context"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/dbus"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/internal/bustest"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

// hostBroker puts a broker with a signed-in user on a bus, until stop.
func hostBroker(t *testing.T, bus *bustest.Bus) (b *broker.Broker, stop func()) {
	t.Helper()
	srv := entratest.NewTB(t, entratest.Options{ReplicationLag: -1, Logf: func(string, ...any) {}, Users: []entratest.User{{Username: "alice", Name: "Alice Example", Password: "pw"}}})
	keys, err := softkeys.Open(softkeys.Secret(make([]byte, 32)))
	require.NoError(t, err)
	b, err = broker.New(t.Context(), broker.Config{Tenant: "contoso.example", Keys: keys, Transport: srv.Transport()})
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = b.Close(), keys.Close() })
	_, err = b.Enroll(t.Context(), broker.Password{Username: "alice@contoso.example", Password: "pw"}, broker.EnrollRequest{})
	require.NoError(t, err)
	return b, serveHost(t, bus, b)
}

func serveHost(t *testing.T, bus *bustest.Bus, b *broker.Broker) (stop func()) {
	t.Helper()
	ready := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	s := &dbus.Service{Handler: &dbus.Handler{Broker: dbus.OwnUser(b), Version: "9.9.9"}, Address: bus.Address, Ready: func() { ready <- struct{}{} }}
	go func() { done <- s.Run(ctx) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(stop)
	return stop
}

// proxy runs "dsreg broker proxy" until end, which returns its exit status.
func proxy(t *testing.T, session string, args ...string) (end func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	said := newLines()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, append([]string{"broker", "proxy"}, args...), streams{strings.NewReader(""), io.Discard, said}, func(name string) string {
			return map[string]string{"DBUS_SESSION_BUS_ADDRESS": session}[name]
		})
	}()
	end = sync.OnceValue(func() int {
		cancel()
		return <-done
	})
	t.Cleanup(func() { end() })
	select {
	case line := <-said.first:
		require.Contains(t, line, "serving the broker of")
		require.Contains(t, line, "9.9.9")
	case code := <-done:
		done <- code
		t.Fatalf("exit status %d", code)
	}
	return end
}

// lines hands over the first line that is written.
type lines struct {
	mu    sync.Mutex // guards buf
	buf   bytes.Buffer
	first chan string
}

func newLines() *lines { return &lines{first: make(chan string, 1)} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(p)
	if line, _, ok := strings.Cut(l.buf.String(), "\n"); ok {
		select {
		case l.first <- line:
		default:
		}
	}
	return len(p), nil
}

// A program in a container is served by the broker of the host, also when that
// was restarted in the meantime, and when the bus of the container was.
func TestBrokerProxy(t *testing.T) {
	host, container := bustest.Start(t), bustest.Start(t)
	b, stop := hostBroker(t, host)
	end := proxy(t, container.Address, "--broker", host.Address)
	c, err := dbus.Dial(t.Context(), dbus.Options{Address: container.Address, App: broker.App{ClientID: "04b07795-8ddb-461a-bbee-02f9e1bf7b46"}})
	require.NoError(t, err)
	defer c.Close()
	version, err := c.Version(t.Context())
	require.NoError(t, err)
	require.Equal(t, "9.9.9", version, "programs see the broker of the host")
	all, err := c.Accounts(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, "alice@contoso.example", all[0].PreferredUsername)
	arm := []string{"https://management.azure.com/.default"}
	res, err := c.AcquireTokenSilent(t.Context(), arm)
	require.NoError(t, err)
	mine, err := b.AcquireTokenSilent(t.Context(), arm, broker.WithApp(broker.App{ClientID: "04b07795-8ddb-461a-bbee-02f9e1bf7b46", RedirectURI: "https://login.microsoftonline.com/common/oauth2/nativeclient"}))
	require.NoError(t, err)
	require.Equal(t, mine.AccessToken, res.AccessToken)
	cookies, err := c.SSOCookies(t.Context(), "https://login.microsoftonline.com/common/oauth2/v2.0/authorize?sso_nonce=n")
	require.NoError(t, err)
	require.Len(t, cookies, 1)
	_, err = c.SSOCookies(t.Context(), "https://evil.example/")
	require.ErrorContains(t, err, "no cookie for that address")

	stop()
	_, err = c.AcquireTokenSilent(t.Context(), arm, broker.WithAccount(all[0]))
	require.ErrorContains(t, err, "RequiredBrokerMissing")
	serveHost(t, host, b)
	_, err = c.AcquireTokenSilent(t.Context(), arm, broker.WithAccount(all[0]))
	require.NoError(t, err)

	container.Down()
	container.Up()
	require.Eventually(t, func() bool {
		_, err := c.Accounts(t.Context())
		return err == nil
	}, time.Minute, 20*time.Millisecond)
	require.Equal(t, exitOK, end())
}

// The other way round: the proxy runs beside the broker and serves the bus of a
// container. A tool that nobody here wrote calls it there.
func TestBrokerProxyServe(t *testing.T) {
	host, container := bustest.Start(t), bustest.Start(t)
	hostBroker(t, host)
	end := proxy(t, host.Address, "--serve", container.Address)
	out, err := exec.Command("dbus-send", "--bus="+container.Address, "--print-reply=literal", "--dest=com.microsoft.identity.broker1",
		"/com/microsoft/identity/broker1", "com.microsoft.identity.Broker1.getAccounts", "string:0.0", "string:", "string:{}").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "alice@contoso.example")
	require.Equal(t, exitOK, end())
}

func TestBrokerProxyRefuses(t *testing.T) {
	bus := bustest.Start(t)
	for name, c := range map[string]struct {
		args []string
		exit int
		says string
	}{
		"one bus":       {nil, exitUsage, "are the same bus"},
		"the same bus":  {[]string{"--broker", bus.Address}, exitUsage, "are the same bus"},
		"no broker":     {[]string{"--broker", bus.Address, "--serve", "unix:path=/nonexistent/bus"}, exitLater, "no broker on the bus"},
		"no bus":        {[]string{"--broker", "unix:path=/nonexistent/bus"}, exitLater, "no broker on the bus"},
		"not a command": {[]string{"more"}, exitUsage, "unknown command"},
	} {
		var said bytes.Buffer
		code := run(t.Context(), append([]string{"broker", "proxy"}, c.args...), streams{strings.NewReader(""), io.Discard, &said}, func(name string) string {
			return map[string]string{"DBUS_SESSION_BUS_ADDRESS": bus.Address}[name]
		})
		require.Equal(t, c.exit, code, "%s: %s", name, &said)
		require.Contains(t, said.String(), c.says, name)
	}
}
