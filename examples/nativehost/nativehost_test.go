package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/dbus"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/internal/bustest"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

const alice = "alice@contoso.example"

// onBus puts a broker with alice on a bus, until stop.
func onBus(t *testing.T, bus *bustest.Bus, wire func(broker.Transport) broker.Transport) (srv *entratest.Server, stop func()) {
	t.Helper()
	srv = entratest.NewTB(t, entratest.Options{ReplicationLag: -1, Logf: func(string, ...any) {}, Users: []entratest.User{{Username: "alice", Name: "Alice Example", Password: "pw"}}})
	keys, err := softkeys.Open(softkeys.Secret(make([]byte, 32)))
	require.NoError(t, err)
	b, err := broker.New(t.Context(), broker.Config{Tenant: "contoso.example", Keys: keys, Transport: wire(srv.Transport())})
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = b.Close(), keys.Close() })
	_, err = b.Enroll(t.Context(), broker.Password{Username: alice, Password: "pw"}, broker.EnrollRequest{})
	require.NoError(t, err)
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
	stop = func() {
		cancel()
		<-done
		done <- nil
	}
	t.Cleanup(stop)
	return srv, stop
}

func direct(t broker.Transport) broker.Transport { return t }

// A browser is the other end of a host.
type browser struct {
	t   *testing.T
	in  io.WriteCloser
	out io.Reader
	end chan error
}

func browse(t *testing.T, bus string) *browser {
	t.Helper()
	hostIn, in := io.Pipe()
	out, hostOut := io.Pipe()
	b := &browser{t: t, in: in, out: out, end: make(chan error, 1)}
	go func() {
		b.end <- run(context.Background(), []string{"chrome-extension://jlnfnnolkbjieggibinobhkjdfbpcohn/"}, hostIn, hostOut, io.Discard, func(name string) string {
			return map[string]string{"DBUS_SESSION_BUS_ADDRESS": bus}[name]
		})
		_ = hostOut.Close()
	}()
	t.Cleanup(func() { _ = in.Close(); go func() { _, _ = io.Copy(io.Discard, out) }() })
	return b
}

func (b *browser) send(text string) {
	b.t.Helper()
	_, err := b.in.Write(append(binary.NativeEndian.AppendUint32(nil, uint32(len(text))), text...))
	require.NoError(b.t, err)
}

func (b *browser) read(into any) string {
	b.t.Helper()
	text, err := readFrame(b.out)
	require.NoError(b.t, err)
	require.NoError(b.t, json.Unmarshal(text, into), "%s", text)
	return string(text)
}

type answer struct {
	Command string `json:"command"`
	Message struct {
		Version  string                                       `json:"linuxBrokerVersion"`
		Native   string                                       `json:"native"`
		Accounts []map[string]any                             `json:"accounts"`
		Name     string                                       `json:"cookieName"`
		Content  string                                       `json:"cookieContent"`
		Items    []struct{ CookieName, CookieContent string } `json:"cookieItems"`
		Token    struct {
			AccessToken string         `json:"accessToken"`
			Error       map[string]any `json:"error"`
		} `json:"brokerTokenResponse"`
		Error map[string]any `json:"error"`
	} `json:"message"`
}

func (b *browser) online() {
	b.t.Helper()
	var v struct{ Command, Message string }
	b.read(&v)
	require.Equal(b.t, "brokerStateChanged", v.Command, "nothing comes before it")
	require.Equal(b.t, "online", v.Message)
}

// The messages of linux-entra-sso, in its order.
func TestExtension(t *testing.T) {
	bus := bustest.Start(t)
	onBus(t, bus, direct)
	b := browse(t, bus.Address)
	b.online()
	b.send(`{"command":"getVersion"}`)
	var a answer
	b.read(&a)
	require.Equal(t, "9.9.9", a.Message.Version)
	require.NotEmpty(t, a.Message.Native)

	b.send(`{"command":"getAccounts"}`)
	b.read(&a)
	require.Equal(t, "getAccounts", a.Command)
	require.Len(t, a.Message.Accounts, 1)
	require.Equal(t, alice, a.Message.Accounts[0]["username"])
	account, err := json.Marshal(a.Message.Accounts[0])
	require.NoError(t, err)

	b.send(`{"command":"acquireTokenSilently","account":` + string(account) + `}`)
	a = answer{}
	b.read(&a)
	require.NotEmpty(t, a.Message.Token.AccessToken)
	for _, address := range []string{"", "https://login.microsoftonline.com/", "https://login.microsoftonline.com/common/oauth2/v2.0/authorize?client_id=x&sso_nonce=n"} {
		b.send(`{"command":"acquirePrtSsoCookie","account":` + string(account) + `,"ssoUrl":"` + address + `"}`)
		a = answer{}
		text := b.read(&a)
		require.Equal(t, "x-ms-RefreshTokenCredential", a.Message.Name, text)
		require.Equal(t, a.Message.Content, a.Message.Items[0].CookieContent)
	}
	for name, text := range map[string]string{
		"another host":   `{"command":"acquirePrtSsoCookie","account":` + string(account) + `,"ssoUrl":"https://evil.example/"}`,
		"nobody":         `{"command":"acquirePrtSsoCookie","account":{"homeAccountId":"a.b"},"ssoUrl":""}`,
		"no command":     `{}`,
		"not an object":  `7`,
		"not JSON":       `{"command`,
		"a wrong type":   `{"command":["a"]}`,
		"a command more": `{"command":"makeCoffee"}`,
	} {
		b.send(text)
		a = answer{}
		got := b.read(&a)
		require.NotEmpty(t, a.Message.Error["context"], "%s: %s", name, got)
		require.NotContains(t, got, "eyJ", name)
	}
	require.NoError(t, b.in.Close())
	require.NoError(t, <-b.end, "a browser that closes is no failure")
}

func TestBrowserCore(t *testing.T) {
	bus := bustest.Start(t)
	onBus(t, bus, direct)
	b := browse(t, bus.Address)
	b.online()
	b.send(`{"method":"GetCookies","uri":"https://login.microsoftonline.com/common/oauth2/authorize?sso_nonce=n","sender":"https://login.microsoftonline.com/"}`)
	var got coreReply
	b.read(&got)
	require.Len(t, got.Response, 1)
	require.Equal(t, "x-ms-RefreshTokenCredential", got.Response[0].Name)
	require.Contains(t, got.Response[0].Data, "; path=/; domain=login.microsoftonline.com; secure; httponly")
	b.send(`{"method":"GetCookies","uri":"https://login.windows.net/common/oauth2/authorize?sso_nonce=n","sender":"https://login.windows.net/"}`)
	b.read(&got)
	require.Contains(t, got.Response[0].Data, "; path=/; domain=login.windows.net; secure; httponly", "the host of the page")
	for _, text := range []string{`{"method":"GetCookies","uri":"https://evil.example/"}`, `{"method":"CreateProviderAsync"}`} {
		b.send(text)
		var f coreFailure
		b.read(&f)
		require.Equal(t, "Fail", f.Status)
		require.NotEmpty(t, f.Description)
	}
}

// The extension hears of a broker that comes and goes.
func TestOnlineOffline(t *testing.T) {
	bus := bustest.Start(t)
	b := browse(t, bus.Address)
	var v struct{ Command, Message string }
	b.read(&v)
	require.Equal(t, "offline", v.Message)
	b.send(`{"command":"getAccounts"}`)
	var a answer
	b.read(&a)
	require.Contains(t, a.Message.Error["context"], "no broker on the bus")
	_, stop := onBus(t, bus, direct)
	b.online()
	stop()
	b.read(&v)
	require.Equal(t, "offline", v.Message)
}

// stuck is a network that does not answer.
type stuck struct {
	broker.Transport
	on chan struct{} // closed: it is stuck
}

func (s stuck) Do(r *http.Request) (*http.Response, error) {
	select {
	case <-s.on:
		<-r.Context().Done()
		return nil, r.Context().Err()
	default:
		return s.Transport.Do(r)
	}
}

// Firefox holds a page back until its cookie is there: it is, within a second,
// or an error; a token that takes its time holds no cookie back.
func TestCookieDoesNotWait(t *testing.T) {
	bus := bustest.Start(t)
	on := make(chan struct{})
	onBus(t, bus, func(t broker.Transport) broker.Transport { return stuck{t, on} })
	b := browse(t, bus.Address)
	b.online()
	close(on)
	b.send(`{"command":"acquireTokenSilently","account":{"username":"` + alice + `"}}`)
	b.send(`{"command":"acquirePrtSsoCookie","account":{"username":"` + alice + `"},"ssoUrl":"https://login.microsoftonline.com/?sso_nonce=n"}`)
	var a answer
	b.read(&a)
	require.Equal(t, "acquirePrtSsoCookie", a.Command)
	require.NotEmpty(t, a.Message.Content, "it needs no network")
}

// A broker that does not answer gets a second.
func TestCookieOrError(t *testing.T) {
	bus := bustest.Start(t)
	release := make(chan struct{})
	s := &dbus.Service{Address: bus.Address, Handler: &dbus.Handler{Broker: func(dbus.Caller) (dbus.Broker, error) {
		<-release
		return nil, dbus.ErrOtherUser
	}}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	b := browse(t, bus.Address)
	for v := (struct{ Command, Message string }{}); v.Message != "online"; {
		b.read(&v)
	}
	b.send(`{"command":"acquirePrtSsoCookie","account":{"homeAccountId":"a.b"},"ssoUrl":"https://login.microsoftonline.com/"}`)
	start := time.Now()
	var a answer
	text := b.read(&a)
	require.NotEmpty(t, a.Message.Error["context"], text)
	require.Less(t, time.Since(start), callLimit, "the limit of cookies ended it")
	close(release)
	cancel()
	<-done
}

// Frames that are none end the connection, as they cannot be told apart.
func TestFrames(t *testing.T) {
	for says, in := range map[string]string{
		"a message of 0 bytes: want 1 to":                     "\x00\x00\x00\x00",
		fmt.Sprintf("a message of %d bytes: want 1", maxIn+1): string(binary.NativeEndian.AppendUint32(nil, maxIn+1)),
		"a message of 5 bytes was cut short":                  string(binary.NativeEndian.AppendUint32(nil, 5)) + "ab",
		"unexpected EOF":                                      "\x05\x00",
	} {
		err := newHost(io.Discard, "unix:path=/nonexistent/bus").serve(t.Context(), strings.NewReader(in))
		require.ErrorContains(t, err, says)
		require.NotErrorIs(t, err, io.EOF, says)
	}
	w := &writer{out: io.Discard}
	require.ErrorContains(t, w.write(strings.Repeat("x", maxOut)), "a browser accepts")
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte(`{"command":"getVersion"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) == 0 || len(text) > maxIn {
			t.Skip()
		}
		frame := append(binary.NativeEndian.AppendUint32(nil, uint32(len(text))), text...)
		got, err := readFrame(strings.NewReader(string(frame)))
		require.NoError(t, err)
		require.Equal(t, text, got)
		_, err = readFrame(strings.NewReader(string(frame[:len(frame)-1])))
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	})
}

func TestInstall(t *testing.T) {
	home := t.TempDir()
	require.NoError(t, run(t.Context(), []string{"-install"}, nil, nil, io.Discard, func(name string) string {
		return map[string]string{"HOME": home}[name]
	}))
	for _, d := range directories {
		text, err := os.ReadFile(filepath.Join(home, d.path, "linux_entra_sso.json"))
		require.NoError(t, err)
		var m manifest
		require.NoError(t, json.Unmarshal(text, &m))
		require.Equal(t, "linux_entra_sso", m.Name)
		require.Equal(t, "stdio", m.Type)
		require.True(t, filepath.IsAbs(m.Path))
		require.Equal(t, d.mozilla, m.Origins == nil)
		require.Equal(t, d.mozilla, m.Extensions != nil)
	}
	require.ErrorContains(t, install(io.Discard, func(string) string { return "" }), "HOME is not set")
}
