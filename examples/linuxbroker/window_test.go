package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
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

// typist fills in the pages as the user does: name, password, code.
const typist = `const values = VALUES;
for (const form of document.forms) {
	const fields = [...form.elements].filter(e => e.type !== "hidden" && values[e.name] !== undefined);
	if (!fields.length) continue;
	for (const f of fields) f.value = values[f.name];
	form.querySelector("button.primary").click();
	break;
}`

const typistManifest = `{"manifest_version": 3, "name": "Types as the user does", "version": "1",
"content_scripts": [{"matches": ["https://*/*"], "js": ["type.js"], "run_at": "document_end"}]}`

// The browser is a Chromium without a screen that finds every host in the
// emulator, and in which an extension types. Tests may run as root, where the
// sandbox cannot.
const browserScript = `#!/bin/bash
args=()
for a in "$@"; do [ "$a" = --disable-extensions ] || args+=("$a"); done
echo window >>DIR/windows
exec CHROMIUM "${args[@]}" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-proxy-server \
	"--host-resolver-rules=MAP * ADDRESS" --ignore-certificate-errors --load-extension=DIR/typist \
	--disable-features=Translate,MediaRouter,DisableLoadExtensionCommandLineSwitch
`

// The user signs in in a window of a real Chromium: the first program that calls
// registers the machine by it, and one that demands MFA has another window, in
// which the machine is known.
func TestSignInInAWindow(t *testing.T) {
	chromium := findChromium(t)
	bus := bustest.Start(t)
	shown := showDesktop(t, bus)
	const payroll = "11111111-aaaa-4bbb-8ccc-000000000002"
	srv := entratest.NewTB(t, entratest.Options{
		Clock: entratest.NewRunningClock(time.Now()), ReplicationLag: -1,
		Users: []entratest.User{{Username: emulatedUser, Password: emulatedPassword, TOTPSecret: emulatedTOTP}},
		Apps:  []entratest.App{{ClientID: payroll, URIs: []string{"api://payroll"}, Public: true, AdminConsent: true, Redirects: []string{"https://login.microsoftonline.com/common/oauth2/nativeclient"}}},
		Policies: []byte(`{"value":[{"id":"99999999-0000-4000-8000-000000000001","displayName":"Payroll requires MFA","state":"enabled",
 "conditions":{"users":{"includeUsers":["All"]},"applications":{"includeApplications":["` + payroll + `"]},"clientAppTypes":["all"]},
 "grantControls":{"operator":"OR","builtInControls":["mfa"]}}]}`),
	})
	dir := t.TempDir()
	browser := writeBrowser(t, dir, chromium, srv)
	t.Setenv("DISPLAY", ":1")
	keys, err := softkeys.Open(softkeys.Secret(make([]byte, 32)))
	require.NoError(t, err)
	var b *broker.Broker
	b, err = broker.New(t.Context(), broker.Config{
		Tenant: srv.Domain(), Keys: keys, Transport: srv.Client(),
		Prompter: prompter(options{bus: bus.Address, prompt: promptWindow, browser: browser}, func(ctx context.Context, page string) ([]*http.Cookie, error) {
			return b.SSOCookies(ctx, page)
		}),
	})
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = b.Close(), keys.Close() })
	serveDesktop(t, bus, &desktop{b, false, slog.New(slog.DiscardHandler), make(chan struct{}, 1)})
	c, err := dbus.Dial(t.Context(), dbus.Options{Address: bus.Address, App: broker.App{ClientID: payroll}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })

	graph := []string{"https://graph.microsoft.com/.default"}
	res, err := c.AcquireTokenInteractive(t.Context(), graph)
	require.NoError(t, err)
	require.Equal(t, emulatedUser, res.Account.PreferredUsername)
	require.Equal(t, 1, windows(t, dir))
	require.Len(t, srv.Devices(), 1)
	_, err = c.AcquireTokenSilent(t.Context(), []string{"api://payroll/.default"})
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	_, err = c.AcquireTokenInteractive(t.Context(), []string{"api://payroll/.default"})
	require.NoError(t, err)
	require.Equal(t, 2, windows(t, dir))
	_, err = c.AcquireTokenSilent(t.Context(), []string{"api://payroll/.default"})
	require.NoError(t, err)
	require.Empty(t, shown, "no notification")
}

func findChromium(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser")
	}
	for _, name := range []string{"chromium", "chromium-browser"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("PRTBROKER_REQUIRE_TOOLS") != "" {
		t.Fatal("chromium is missing: apt-get install chromium")
	}
	t.Skip("no Chromium is installed")
	return ""
}

func writeBrowser(t *testing.T, dir, chromium string, srv *entratest.Server) string {
	t.Helper()
	code, err := entratest.TOTP(emulatedTOTP, srv.Now())
	require.NoError(t, err)
	values, err := json.Marshal(map[string]string{"login": emulatedUser, "loginfmt": emulatedUser, "passwd": emulatedPassword, "otc": code})
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "typist"), 0o700))
	for name, text := range map[string]string{
		"typist/type.js":       strings.ReplaceAll(typist, "VALUES", string(values)),
		"typist/manifest.json": typistManifest,
		"browser":              strings.NewReplacer("CHROMIUM", chromium, "ADDRESS", srv.Addr(), "DIR", dir).Replace(browserScript),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700))
	}
	return filepath.Join(dir, "browser")
}

// windows is how many were opened.
func windows(t *testing.T, dir string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "windows"))
	require.NoError(t, err)
	return strings.Count(string(text), "\n")
}

func serveDesktop(t *testing.T, bus *bustest.Bus, d *desktop) {
	t.Helper()
	ready := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	s := &dbus.Service{Handler: &dbus.Handler{Broker: dbus.OwnUser(d)}, Address: bus.Address, Ready: func() { ready <- struct{}{} }}
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
