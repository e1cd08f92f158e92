package dbus_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/dbus"
	"github.com/prtbroker/prtbroker/broker/dbus/internal/wire"
	"github.com/prtbroker/prtbroker/internal/bustest"
)

// serve puts a handler on a bus of its own and returns a stop function that
// returns what Run did.
func serve(t testing.TB, s *dbus.Service) (stop func() error) {
	t.Helper()
	ready := make(chan struct{}, 16)
	s.Ready = func() { ready <- struct{}{} }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = stop() })
	select {
	case <-ready:
	case err := <-done:
		done <- err
		require.NoError(t, err)
	}
	return stop
}

// onBus is a world with its handler on a bus.
func onBus(t testing.TB) (*world, *bustest.Bus, func() error) {
	t.Helper()
	bus := bustest.Start(t)
	w := newWorld(t)
	return w, bus, serve(t, &dbus.Service{Handler: w.h, Address: bus.Address})
}

// dial returns a connection of a program that knows nothing of this package.
func dial(t testing.TB, bus *bustest.Bus) *godbus.Conn {
	t.Helper()
	c, err := godbus.Connect(bus.Address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func object(c *godbus.Conn) godbus.BusObject { return c.Object(wire.BusName, wire.Path) }

func callMethod(t testing.TB, c *godbus.Conn, method, request string) *wire.Reply {
	t.Helper()
	var text string
	require.NoError(t, object(c).Call(wire.Interface+"."+method, 0, "0.0", "", request).Store(&text))
	r, err := wire.ParseReply(method, text)
	require.NoError(t, err, "%s", text)
	return r
}

func silentRequest(scope string) string {
	return `{"authParameters":{"clientId":"` + appID + `","requestedScopes":["` + scope + `"],"username":"` + alice + `","authority":"https://login.microsoftonline.com/common"}}`
}

const graphScope = "https://graph.microsoft.com/.default"

func TestServiceAnswers(t *testing.T) {
	_, bus, stop := onBus(t)
	c := dial(t, bus)
	require.NoError(t, object(c).Call("org.freedesktop.DBus.Peer.Ping", 0).Err, "msalruntime pings before anything else")
	require.Equal(t, "1.2.3", callMethod(t, c, wire.GetVersion, `{"msalCppVersion":"1.0"}`).Version)
	require.Len(t, callMethod(t, c, wire.GetAccounts, `{"clientId":"x"}`).Accounts, 1)
	require.NotEmpty(t, callMethod(t, c, wire.AcquireSilently, silentRequest(graphScope)).Token.AccessToken)

	// A call that leaves the interface out, as D-Bus allows.
	var text string
	require.NoError(t, object(c).Call(wire.GetVersion, 0, "0.0", "", "{}").Store(&text))
	require.JSONEq(t, `{"linuxBrokerVersion":"1.2.3"}`, text)

	require.ErrorIs(t, stop(), context.Canceled)
	err := object(c).Call(wire.Interface+"."+wire.GetVersion, 0, "0.0", "", "{}").Err
	require.ErrorContains(t, err, "not provided by any .service files", "the name is given back")
}

// Whatever arrives is answered in the shape that clients read.
func TestServiceBadCalls(t *testing.T) {
	w, bus, _ := onBus(t)
	c := dial(t, bus)
	bad := map[string][]any{
		"no arguments":  {},
		"two strings":   {"0.0", ""},
		"four strings":  {"0.0", "", "{}", ""},
		"numbers":       {uint32(1), uint32(2), uint32(3)},
		"an array":      {"0.0", "", []string{"{}"}},
		"empty":         {"0.0", "", ""},
		"not JSON":      {"0.0", "", "hello"},
		"not an object": {"0.0", "", "[]"},
		"deep":          {"0.0", "", strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000)},
		"large":         {"0.0", "", `{"a":"` + strings.Repeat("x", 1<<20) + `"}`},
		"twice":         {"0.0", "", `{"clientId":"a","clientId":"b"}`},
	}
	for _, method := range wire.Methods {
		for name, args := range bad {
			var text string
			require.NoError(t, object(c).Call(wire.Interface+"."+method, 0, args...).Store(&text), "%s, %s", method, name)
			r, err := wire.ParseReply(method, text)
			require.NoError(t, err, "%s, %s", method, name)
			require.NotNil(t, r.Error, "%s, %s: %s", method, name, text)
			require.Equal(t, wire.APIContractViolation, r.Error.Status, "%s, %s: %+v", method, name, r.Error)
			require.NotZero(t, r.Error.Tag, "%s, %s", method, name)
		}
	}
	for _, method := range []string{wire.AcquireSilently, wire.AcquireInteractive} {
		r := callMethod(t, c, method, `{"authParameters":{"clientId":"zz","requestedScopes":["a"]}}`)
		require.Equal(t, wire.APIContractViolation, r.Error.Status, "%s, a client of no kind: %+v", method, r.Error)
	}
	r := callMethod(t, c, "makeCoffee", "{}")
	require.Equal(t, wire.APIContractViolation, r.Error.Status)
	require.ErrorContains(t, c.Object(wire.BusName, "/elsewhere").Call(wire.Interface+"."+wire.GetVersion, 0, "0.0", "", "{}").Err, "does not implement the interface")
	require.ErrorContains(t, object(c).Call("org.example.Other.method", 0).Err, "does not implement the interface")
	require.NotEmpty(t, callMethod(t, c, wire.AcquireSilently, silentRequest(graphScope)).Token.AccessToken, "it lives on")
	require.Zero(t, w.person.asked.Load())
}

func TestServiceIntrospection(t *testing.T) {
	_, bus, _ := onBus(t)
	c := dial(t, bus)
	var xml string
	const introspect = "org.freedesktop.DBus.Introspectable.Introspect"
	require.NoError(t, object(c).Call(introspect, 0).Store(&xml))
	for _, m := range wire.Methods {
		require.Contains(t, xml, `<method name="`+m+`">`)
	}
	for path, child := range map[godbus.ObjectPath]string{"/": "com", "/com": "microsoft", "/com/microsoft": "identity", "/com/microsoft/identity": "broker1"} {
		require.NoError(t, c.Object(wire.BusName, path).Call(introspect, 0).Store(&xml))
		require.Contains(t, xml, `<node name="`+child+`"/>`)
	}
	require.NoError(t, c.Object(wire.BusName, "/other").Call(introspect, 0).Store(&xml))
	require.NotContains(t, xml, "name=")
}

// 64 programs at once: everyone has an answer, and one request was made.
func TestServiceManyCallers(t *testing.T) {
	w, bus, _ := onBus(t)
	w.wire.take()
	const programs, each = 64, 4
	var wg sync.WaitGroup
	errs := make(chan error, programs*each)
	start := make(chan struct{})
	for range programs {
		c := dial(t, bus)
		wg.Go(func() {
			<-start
			for i := range each {
				method := []string{wire.AcquireSilently, wire.GetAccounts, wire.GetVersion, wire.AcquireSilently}[i]
				var text string
				if err := object(c).Call(wire.Interface+"."+method, 0, "0.0", "", silentRequest(graphScope)).Store(&text); err != nil {
					errs <- err
					continue
				}
				if r, err := wire.ParseReply(method, text); err != nil || r.Error != nil {
					errs <- fmt.Errorf("%s: %w: %s", method, err, text)
				}
			}
		})
	}
	close(start)
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	require.LessOrEqual(t, w.wire.take(), int64(2), "a nonce and a token for all")
}

// A thousand calls that are under way at once, from one connection, end in
// answers; a quick call is answered meanwhile.
func TestServiceThousandPending(t *testing.T) {
	w, bus, _ := onBus(t)
	release := make(chan struct{})
	hook := func(r *http.Request) error {
		select {
		case <-release:
			return nil
		case <-r.Context().Done():
			return r.Context().Err()
		}
	}
	w.wire.hook.Store(&hook)
	c := dial(t, bus)
	const calls = 1000
	done := make(chan *godbus.Call, calls)
	for range calls {
		object(c).Go(wire.Interface+"."+wire.AcquireSilently, 0, done, "0.0", "", silentRequest(graphScope))
	}
	// Those beyond what is worked on at once are told to come back; only then
	// is the first let go.
	busy := 0
	for busy < calls-512 {
		call := <-done
		require.NoError(t, call.Err)
		text, _ := call.Body[0].(string)
		r, err := wire.ParseReply(wire.AcquireSilently, text)
		require.NoError(t, err)
		require.Equal(t, wire.ServerTemporarilyUnavailable, r.Error.Status)
		busy++
	}
	close(release)
	for range calls - busy {
		require.NoError(t, (<-done).Err)
	}
	require.Equal(t, "1.2.3", callMethod(t, c, wire.GetVersion, "{}").Version)
}

// A slow silent call holds up nobody else.
func TestServiceSlowCallBlocksNobody(t *testing.T) {
	w, bus, _ := onBus(t)
	started, release := make(chan struct{}, 8), make(chan struct{})
	hook := func(*http.Request) error {
		started <- struct{}{}
		<-release
		return nil
	}
	w.wire.hook.Store(&hook)
	c := dial(t, bus)
	done := make(chan *godbus.Call, 1)
	object(c).Go(wire.Interface+"."+wire.AcquireSilently, 0, done, "0.0", "", silentRequest(graphScope))
	<-started
	require.Len(t, callMethod(t, c, wire.GetAccounts, "{}").Accounts, 1)
	require.Empty(t, done)
	w.wire.hook.Store(nil)
	close(release)
	require.NoError(t, (<-done).Err)
}

func interactiveRequest(scope string) string {
	return `{"authParameters":{"clientId":"` + appID + `","authorizationType":6,"requestedScopes":["` + scope + `"],"username":"` + alice + `"},"parentWindowHandle":1}`
}

const cancelRequest = `{"error":{"context":"The InteractiveRequest was canceled on behalf of the user","diagnostics":null,"errorCode":0,"status":7,"subStatus":0,"tag":579379414}}`

// A program cancels its own interactive calls and nobody else's, and those of a
// program that leaves end.
func TestServiceCancel(t *testing.T) {
	w, bus, _ := onBus(t)
	up := make(chan struct{}, 4)
	w.person.hang.Store(&up)
	mine, other := dial(t, bus), dial(t, bus)
	done := make(chan *godbus.Call, 1)
	object(mine).Go(wire.Interface+"."+wire.AcquireInteractive, 0, done, "0.0", "", interactiveRequest("api://payroll/.default"))
	<-up
	require.Nil(t, callMethod(t, other, wire.CancelInteractive, cancelRequest).Error)
	require.Empty(t, done, "another program's cancel does nothing")
	require.Nil(t, callMethod(t, mine, wire.CancelInteractive, cancelRequest).Error)
	text, _ := (<-done).Body[0].(string)
	r, err := wire.ParseReply(wire.AcquireInteractive, text)
	require.NoError(t, err)
	require.Equal(t, wire.UserCanceled, r.Error.Status)

	// Forge the sender: the bus writes the true one over it.
	object(mine).Go(wire.Interface+"."+wire.AcquireInteractive, 0, done, "0.0", "", interactiveRequest("api://payroll/.default"))
	<-up
	forged := &godbus.Message{Type: godbus.TypeMethodCall, Headers: map[godbus.HeaderField]godbus.Variant{
		godbus.FieldDestination: godbus.MakeVariant(wire.BusName), godbus.FieldPath: godbus.MakeVariant(godbus.ObjectPath(wire.Path)),
		godbus.FieldInterface: godbus.MakeVariant(wire.Interface), godbus.FieldMember: godbus.MakeVariant(wire.CancelInteractive),
		godbus.FieldSender: godbus.MakeVariant(mine.Names()[0]), godbus.FieldSignature: godbus.MakeVariant(godbus.SignatureOf("", "", "")),
	}, Body: []any{"0.0", "", cancelRequest}}
	require.NoError(t, (<-other.Send(forged, make(chan *godbus.Call, 1)).Done).Err)
	require.Empty(t, done, "a stolen sender name cancels nothing")

	// The program leaves: nobody is there to be prompted for.
	require.NoError(t, mine.Close())
	require.Eventually(t, func() bool { return w.h.Interactive() == 0 }, time.Minute, time.Millisecond)
}

// The daemon outlives its bus.
func TestServiceBusRestart(t *testing.T) {
	bus := bustest.Start(t)
	w := newWorld(t)
	ready := make(chan struct{}, 4)
	s := &dbus.Service{Handler: w.h, Address: bus.Address}
	stop := serve(t, s)
	_ = ready
	bus.Down()
	bus.Up()
	c := dial(t, bus)
	require.Eventually(t, func() bool {
		var text string
		return object(c).Call(wire.Interface+"."+wire.GetVersion, 0, "0.0", "", "{}").Store(&text) == nil
	}, time.Minute, 20*time.Millisecond)
	require.NotEmpty(t, callMethod(t, c, wire.AcquireSilently, silentRequest(graphScope)).Token.AccessToken)
	require.ErrorIs(t, stop(), context.Canceled)
}

// A bus that does not answer holds up no end of the service.
func TestServiceFrozenBus(t *testing.T) {
	w, bus, stop := onBus(t)
	bus.Freeze()
	require.ErrorIs(t, stop(), context.Canceled)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, (&dbus.Service{Handler: w.h, Address: bus.Address}).Run(ctx), context.DeadlineExceeded)
}

func TestServiceNameTaken(t *testing.T) {
	w, bus, _ := onBus(t)
	err := (&dbus.Service{Handler: w.h, Address: bus.Address}).Run(t.Context())
	require.ErrorIs(t, err, dbus.ErrNameTaken)
	require.ErrorContains(t, (&dbus.Service{Handler: w.h, Address: "unix:path=/nonexistent/bus"}).Run(t.Context()), "connecting to the bus")
	require.ErrorContains(t, (&dbus.Service{}).Run(t.Context()), "Handler is nil")
}

// A call is under way until its reply is written, so that a service that ends does
// not close the connection before. A call that wants no reply ends without one.
func TestServiceEndsAfterItsReplies(t *testing.T) {
	bus := bustest.Start(t)
	s := &dbus.Service{Handler: newWorld(t).h, Address: bus.Address}
	s.Releasing(func() {}, time.Hour) // Run waits as long as a call is under way
	underWay := make(chan int, 1)
	s.Sending(func(n int) { underWay <- n })
	stop := serve(t, s)
	c := dial(t, bus)
	object(c).Go(wire.Interface+"."+wire.GetVersion, godbus.FlagNoReplyExpected, nil, "0.0", "", "{}")
	require.NotEmpty(t, callMethod(t, c, wire.AcquireSilently, silentRequest(graphScope)).Token.AccessToken)
	require.Positive(t, <-underWay)
	require.ErrorIs(t, stop(), context.Canceled, "no call is under way any more")
}

// Another user of the machine gets nothing.
func TestServiceOtherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can play another user; TestOtherUser has the rest")
	}
	if _, err := exec.LookPath("setpriv"); err != nil {
		require.NotEqual(t, "1", os.Getenv("PRTBROKER_REQUIRE_TOOLS"), "setpriv is missing")
		t.Skip("setpriv is not installed")
	}
	_, bus, _ := onBus(t)
	for _, method := range wire.Methods {
		cmd := exec.CommandContext(t.Context(), "setpriv", "--reuid=65534", "--clear-groups", "dbus-send", "--bus="+bus.Address, "--print-reply=literal",
			"--dest="+wire.BusName, wire.Path, wire.Interface+"."+method, "string:0.0", "string:", "string:"+silentRequest(graphScope))
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "another user of this machine", method)
		require.NotContains(t, string(out), alice)
	}
}

// gdbus and busctl, which nobody here wrote, call every method.
func TestServiceByTools(t *testing.T) {
	_, bus, _ := onBus(t)
	requests := map[string]string{
		wire.GetAccounts: `{}`, wire.GetVersion: `{}`, wire.AcquireSilently: silentRequest(graphScope), wire.AcquireInteractive: silentRequest(graphScope),
		wire.AcquireCookie:   `{"ssoUrl":"https://login.microsoftonline.com/"}`,
		wire.SignHTTPRequest: `{"clientId":"` + appID + `","popParams":{"httpMethod":"GET","uriHost":"api.example"}}`,
		wire.RemoveAccount:   `{"account":{"homeAccountId":"a.b"}}`, wire.CancelInteractive: cancelRequest,
	}
	tools := map[string]func(method string) []string{
		"gdbus": func(m string) []string {
			return []string{"call", "--address", bus.Address, "--dest", wire.BusName, "--object-path", wire.Path, "--method", wire.Interface + "." + m, "0.0", "", requests[m]}
		},
		"busctl": func(m string) []string {
			return []string{"--address=" + bus.Address, "call", wire.BusName, wire.Path, wire.Interface, m, "sss", "0.0", "", requests[m]}
		},
	}
	for tool, args := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("PRTBROKER_REQUIRE_TOOLS") != "" && tool == "gdbus" {
				t.Fatalf("%s is not installed", tool)
			}
			continue
		}
		for _, m := range wire.Methods {
			out, err := exec.CommandContext(t.Context(), tool, args(m)...).CombinedOutput()
			require.NoError(t, err, "%s %s: %s", tool, m, out)
			require.Contains(t, string(out), "{", "%s %s", tool, m)
		}
		out, err := exec.CommandContext(t.Context(), tool, map[string][]string{
			"gdbus":  {"introspect", "--address", bus.Address, "--dest", wire.BusName, "--object-path", "/", "--recurse"},
			"busctl": {"--address=" + bus.Address, "introspect", wire.BusName, wire.Path},
		}[tool]...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		for _, m := range wire.Methods {
			require.Contains(t, string(out), m, tool)
		}
	}
}
