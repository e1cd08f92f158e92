package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"
	"github.com/gofrs/flock"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/dbus"
	"github.com/prtbroker/prtbroker/internal/bustest"
)

const cli = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"

var arm = []string{"https://management.azure.com/.default"}

// start runs the daemon over a state until stop is called.
func start(t *testing.T, o options) (stop func() error) {
	t.Helper()
	_, stop = startDaemon(t, o)
	return stop
}

func startDaemon(t *testing.T, o options) (_ *daemon, stop func() error) {
	t.Helper()
	d, err := open(t.Context(), o, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ready := make(chan struct{}, 1)
	d.ready = func() { ready <- struct{}{} }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.serve(ctx) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	return d, func() error {
		cancel()
		err := <-done
		require.NoError(t, d.close())
		return err
	}
}

// notifications plays the desktop.
type notifications chan string

func (n notifications) Notify(_ string, _ uint32, _, summary, body string, _ []string, _ map[string]godbus.Variant, expire int32) (uint32, *godbus.Error) {
	n <- summary + ": " + body
	return 1, nil
}

func showDesktop(t *testing.T, bus *bustest.Bus) notifications {
	t.Helper()
	c, err := godbus.Connect(bus.Address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	n := make(notifications, 8)
	require.NoError(t, c.Export(n, "/org/freedesktop/Notifications", "org.freedesktop.Notifications"))
	_, err = c.RequestName("org.freedesktop.Notifications", 0)
	require.NoError(t, err)
	return n
}

// The first program that signs in makes the daemon register the machine, with
// one notification; from then on everything is silent, also after a restart.
func TestFirstSignInEnrols(t *testing.T) {
	bus := bustest.Start(t)
	shown := showDesktop(t, bus)
	o := options{state: filepath.Join(t.TempDir(), "state"), bus: bus.Address, software: true, emulator: true}
	stop := start(t, o)
	c, err := dbus.Dial(t.Context(), dbus.Options{Address: bus.Address, App: broker.App{ClientID: cli}})
	require.NoError(t, err)
	defer c.Close()
	_, err = c.AcquireTokenSilent(t.Context(), arm)
	require.ErrorIs(t, err, broker.ErrNoAccount)
	require.Empty(t, shown, "a silent call asks nobody")

	res, err := c.AcquireTokenInteractive(t.Context(), arm)
	require.NoError(t, err)
	require.Equal(t, emulatedUser, res.Account.PreferredUsername)
	require.Regexp(t, regexp.MustCompile(`^A program wants you to sign in: Open https://\S+ and enter the code [A-Z0-9]{9}$`), <-shown)
	require.Empty(t, shown)
	again, err := c.AcquireTokenSilent(t.Context(), arm)
	require.NoError(t, err)
	require.Equal(t, res.AccessToken, again.AccessToken)
	require.NoError(t, stop())

	stop = start(t, o)
	_, err = c.AcquireTokenSilent(t.Context(), arm)
	require.NoError(t, err)
	require.Empty(t, shown)
	require.NoError(t, stop())
}

// Without a desktop an interactive call ends in an error and does not hang.
func TestNoDesktop(t *testing.T) {
	bus := bustest.Start(t)
	n := &notifier{address: bus.Address}
	require.ErrorContains(t, n.DeviceCode(t.Context(), broker.DeviceCode{UserCode: "ABC"}), "shows no notification")
	n.address = "unix:path=/nonexistent/bus"
	require.ErrorContains(t, n.DeviceCode(t.Context(), broker.DeviceCode{UserCode: "ABC"}), "no desktop")
}

func TestStateIsKeptAsItWasMade(t *testing.T) {
	bus := bustest.Start(t)
	o := options{state: filepath.Join(t.TempDir(), "state"), bus: bus.Address, software: true, emulator: true}
	require.NoError(t, start(t, o)())
	for text, change := range map[string]func(*options){
		"belongs to tenant contoso.example": func(o *options) { o.tenant = "fabrikam.example" },
		"another kind":                      func(o *options) { o.emulator = false },
	} {
		c := o
		change(&c)
		_, err := open(t.Context(), c, slog.New(slog.DiscardHandler))
		require.ErrorContains(t, err, text)
	}
	require.NoError(t, os.WriteFile(filepath.Join(o.state, settledFile), []byte(`{"tenant":"contoso.example","keys":"tpm","emulator":true}`), 0o600))
	_, err := open(t.Context(), o, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "was made with a TPM and cannot be opened with software keys")
	_, err = open(t.Context(), options{state: t.TempDir(), software: true}, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "no tenant: use")
}

// The bus starts the daemon by the activation file that -install wrote, and an
// idle one ends by itself.
func TestInstallAndActivation(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	bus := bustest.Start(t)
	home := t.TempDir()
	env := func(name string) string {
		return map[string]string{"HOME": home, "XDG_DATA_HOME": filepath.Join(home, "data")}[name]
	}
	args := []string{"-emulator", "-software-keys", "-state", filepath.Join(home, "state"), "-bus", bus.Address, "-idle", "100ms", "-install"}
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), args, &out, env))
	unit, err := os.ReadFile(filepath.Join(home, ".config", "systemd", "user", "linuxbroker.service"))
	require.NoError(t, err)
	require.Contains(t, string(unit), "BusName=com.microsoft.identity.broker1")
	require.NotContains(t, string(unit), "-install")
	text, err := os.ReadFile(filepath.Join(home, "data", "dbus-1", "services", busName+".service"))
	require.NoError(t, err)
	require.Contains(t, string(text), "SystemdService=linuxbroker.service")

	// This test is the program: TestMain runs it when the bus starts it.
	program, err := os.Executable()
	require.NoError(t, err)
	activation := strings.Replace(string(text), "SystemdService=linuxbroker.service\n", "", 1)
	activation = strings.Replace(activation, "Exec="+program, "Exec=/usr/bin/env LINUXBROKER_TEST=1 "+program, 1)
	require.NoError(t, os.WriteFile(filepath.Join(bus.Services, busName+".service"), []byte(activation), 0o644))
	bus.Down()
	bus.Up()
	for range 3 { // started anew after each end
		c, err := dbus.Dial(t.Context(), dbus.Options{Address: bus.Address, App: broker.App{ClientID: cli}})
		require.NoError(t, err)
		_, err = c.AcquireTokenInteractive(t.Context(), arm)
		require.NoError(t, err)
		require.NoError(t, c.Close())
		conn, err := godbus.Connect(bus.Address)
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			var owned bool
			err := conn.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, busName).Store(&owned)
			return err == nil && !owned
		}, time.Minute, 10*time.Millisecond)
		require.NoError(t, conn.Close())
	}
	// The last one has given its name back and may still be writing its state.
	lock := flock.New(filepath.Join(home, "state", "emulator.lock"))
	_, err = lock.TryLockContext(t.Context(), 10*time.Millisecond)
	require.NoError(t, err)
	require.NoError(t, lock.Close())
}

func TestMain(m *testing.M) {
	if os.Getenv("LINUXBROKER_TEST") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestFlags(t *testing.T) {
	none := func(string) string { return "" }
	for says, args := range map[string][]string{
		"not defined: -nonsense":         {"-nonsense"},
		`unexpected argument "argument"`: {"argument"},
		"HOME is not set":                {},
		`-prompt "shout"`:                {"-prompt", "shout"},
	} {
		require.ErrorContains(t, run(t.Context(), args, io.Discard, none), says)
	}
	require.ErrorContains(t, install(options{}, []string{"-tenant", "a b"}, io.Discard, func(string) string { return "/h" }), "cannot be written in a unit file")
}
