package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/dbus"
	"github.com/prtbroker/prtbroker/internal/bustest"
)

// Programs that sign in at once on a machine that is not registered: the user
// signs in once on the page, one device is registered, and all get a token.
func TestFirstSignInOnThePage(t *testing.T) {
	bus := bustest.Start(t)
	shown := showDesktop(t, bus)
	o := options{state: filepath.Join(t.TempDir(), "state"), bus: bus.Address, software: true, emulator: true, prompt: promptWindow}
	d, stop := startDaemon(t, o)
	const programs = 4
	var wg sync.WaitGroup
	errs := make(chan error, programs)
	for range programs {
		c, err := dbus.Dial(t.Context(), dbus.Options{Address: bus.Address, App: broker.App{ClientID: cli}})
		require.NoError(t, err)
		defer c.Close()
		wg.Go(func() {
			_, err := c.AcquireTokenInteractive(t.Context(), arm)
			errs <- err
		})
	}
	wg.Wait()
	for range programs {
		require.NoError(t, <-errs)
	}
	require.Len(t, d.tenant.srv.Devices(), 1)
	require.Empty(t, shown, "the page was enough")
	require.NoError(t, stop())
}

// The window of -prompt window is a browser's. One that is closed is the user's
// refusal, and no device code follows; a machine without a browser or a screen
// has the device code.
func TestWindow(t *testing.T) {
	bus := bustest.Start(t)
	shown := showDesktop(t, bus)
	dir := t.TempDir()
	started := filepath.Join(dir, "started")
	browser := filepath.Join(dir, "browser")
	require.NoError(t, os.WriteFile(browser, []byte("#!/bin/sh\necho \"$@\" >"+started+"\n"), 0o700))
	none := func(context.Context, string) ([]*http.Cookie, error) { return nil, broker.ErrNoAccount }
	const page = "https://login.microsoftonline.com/common/oauth2/v2.0/authorize"
	code := broker.DeviceCode{UserCode: "ABC", VerificationURL: "https://microsoft.com/devicelogin"}

	t.Setenv("DISPLAY", ":1")
	p := prompter(options{bus: bus.Address, prompt: promptWindow, browser: browser}, none)
	_, err := p.Authorize(t.Context(), page, "ms-appx-web://x")
	require.ErrorIs(t, err, broker.ErrUserCanceled)
	require.NotErrorIs(t, err, errors.ErrUnsupported)
	args, err := os.ReadFile(started)
	require.NoError(t, err)
	require.Contains(t, string(args), "--remote-debugging-pipe")
	require.Empty(t, shown)
	require.NoError(t, p.DeviceCode(t.Context(), code))
	require.Contains(t, <-shown, "enter the code ABC")

	require.NoError(t, os.Remove(started))
	p = prompter(options{bus: bus.Address, prompt: promptNotification, browser: browser}, none)
	_, err = p.Authorize(t.Context(), page, "ms-appx-web://x")
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.NoFileExists(t, started)

	t.Setenv("DISPLAY", "")
	t.Setenv("WAYLAND_DISPLAY", "")
	p = prompter(options{bus: bus.Address, prompt: promptWindow, browser: browser}, none)
	_, err = p.Authorize(t.Context(), page, "ms-appx-web://x")
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.NoFileExists(t, started)
	require.NoError(t, p.DeviceCode(t.Context(), code))
	require.Contains(t, <-shown, "enter the code ABC")
}
