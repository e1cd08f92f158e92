package interop

import (
	"bytes"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	prtbroker "github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

// pc is a device of alice's with a PRT, for clients that have none of their own: a
// browser on it signs in by the PRT.
type pc struct {
	*emulator
	b  *prtbroker.Broker
	id string
}

func newPC(t *testing.T, e *emulator) *pc {
	t.Helper()
	keys, err := softkeys.Open(softkeys.Secret(make([]byte, 32)))
	require.NoError(t, err)
	b, err := prtbroker.New(t.Context(), prtbroker.Config{Tenant: "contoso.example", Keys: keys, Transport: e.Transport(),
		Device: prtbroker.DeviceInfo{DisplayName: "pc-heavy"}})
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = b.Close(), keys.Close() })
	_, err = b.Enroll(t.Context(), prtbroker.Password{Username: alice, Password: alicePwd}, prtbroker.EnrollRequest{})
	require.NoError(t, err)
	st, err := b.Status(t.Context())
	require.NoError(t, err)
	return &pc{e, b, st.Device.ID}
}

// authorize opens a URL in the browser of the device.
func (p *pc) authorize(t *testing.T, start, redirect string) (string, error) {
	t.Helper()
	cookies, err := p.b.SSOCookies(t.Context(), "https://login.microsoftonline.com/")
	require.NoError(t, err)
	c := *p.Client()
	c.Transport = withCookie{cookies[0].Value, c.Transport}
	return person().Authorize(t.Context(), &c, start, redirect)
}

// signInURL is where the browser of a device begins with an app.
func (p *pc) signInURL(scope string) string {
	return "https://login.microsoftonline.com/" + p.TenantID() + "/oauth2/v2.0/authorize?" + url.Values{"client_id": {appID},
		"response_type": {"code"}, "redirect_uri": {loopback}, "scope": {scope + " offline_access openid profile"}}.Encode()
}

// disabled runs something while the device is disabled.
func (p *pc) disabled(t *testing.T, run func()) {
	t.Helper()
	require.NoError(t, p.DisableDevice(p.id))
	defer func() { require.NoError(t, p.EnableDevice(p.id)) }()
	run()
}

// opener is an xdg-open that writes down what it is asked to open, for programs that
// open a browser. Its directory goes in front of PATH.
type opener struct{ dir string }

func newOpener(t *testing.T) opener {
	t.Helper()
	o := opener{t.TempDir()}
	for _, name := range []string{"xdg-open", "x-www-browser", "www-browser", "wslview"} {
		require.NoError(t, os.WriteFile(filepath.Join(o.dir, name), []byte("#!/bin/sh\nprintf %s \"$1\" >'"+o.dir+"/url.new' && mv '"+o.dir+"/url.new' '"+o.dir+"/url'\n"), 0o700))
	}
	return o
}

func (o opener) env(base []string) []string {
	out := []string{"BROWSER=" + filepath.Join(o.dir, "xdg-open") + " %s", "DISPLAY=:0"}
	for _, kv := range base {
		if rest, ok := strings.CutPrefix(kv, "PATH="); ok {
			kv = "PATH=" + o.dir + ":" + rest
		}
		out = append(out, kv)
	}
	return out
}

// run starts a command and lets somebody sign in at the URL that it opens: sign gets
// the URL and returns where the sign-in was redirected; then the command ends. An error
// of sign ends the command at once, and is returned.
func (o opener) run(t *testing.T, cmd *exec.Cmd, sign func(start, redirect string) (string, error)) (string, error) {
	t.Helper()
	_ = os.Remove(filepath.Join(o.dir, "url"))
	cmd.Env = o.env(cmd.Env)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var start string
	require.Eventually(t, func() bool {
		text, err := os.ReadFile(filepath.Join(o.dir, "url"))
		start = string(text)
		return err == nil
	}, 2*time.Minute, 50*time.Millisecond, "nothing was opened")
	u, err := url.Parse(start)
	require.NoError(t, err)
	got, err := sign(start, u.Query().Get("redirect_uri"))
	if err != nil {
		_ = cmd.Process.Kill()
		<-ended
		return "", err
	}
	require.NoError(t, deliver(start, got))
	require.NoError(t, <-ended, "%s%s", &stdout, &stderr)
	return stdout.String(), nil
}

// pageError says what the page of a refused sign-in says.
func pageError(t *testing.T, err error, code string) string {
	t.Helper()
	var page *entratest.PageError
	require.ErrorAs(t, err, &page)
	require.ErrorContains(t, err, code)
	return "a page that says " + code
}
