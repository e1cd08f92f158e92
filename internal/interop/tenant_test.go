package interop

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// What examples/tenant has from the start.
const (
	appID    = "7a11e51e-0001-4000-8000-000000000001"
	native   = "https://login.microsoftonline.com/common/oauth2/nativeclient"
	loopback = "http://localhost"
	alice    = "alice@contoso.example"
	alicePwd = "correct horse"
	aliceOTP = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	bob      = "bob@contoso.example"
	bobPwd   = "battery staple"
	dave     = "dave@corp.contoso.example" // federated
	davePwd  = "river stone"

	webID       = "7a11e51e-0004-4000-8000-000000000004"
	webSecret   = "web.app~secret"
	webRedirect = "https://web.contoso.example/signed-in"
	spaID       = "7a11e51e-0005-4000-8000-000000000005"
	spaRedirect = "https://spa.contoso.example/"

	userRead = "https://graph.microsoft.com/User.Read"
	payroll  = "api://payroll/user_impersonation" // asks for MFA
	secrets  = "api://secrets/user_impersonation" // blocked
)

// program is a running examples/tenant.
type program struct {
	dir       string
	env       []string // of the clients
	proxy     string
	dashboard string
	caFile    string
	tenantID  string
	http      *http.Client // through the proxy, as the clients do

	cmd *exec.Cmd
	mu  sync.Mutex // guards log
	log strings.Builder
}

var running *program // started by TestMain

func startTenant(dir string) (*program, error) {
	p := &program{dir: dir}
	bin := filepath.Join(dir, "tenant")
	build := exec.Command("go", "build", "-o", bin, "./examples/tenant")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build examples/tenant: %w\n%s", err, out)
	}
	p.cmd = exec.Command(bin, "-proxy", "127.0.0.1:0", "-dashboard", "127.0.0.1:0", "-v",
		"-data", filepath.Join(dir, "state.json"), "-ca", filepath.Join(dir, "ca.pem"))
	p.cmd.Stderr = p
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	return p, p.read(out)
}

// read takes the environment that the program prints, as a shell would.
func (p *program) read(out io.Reader) error {
	vars := map[string]string{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		if rest, ok := strings.CutPrefix(line, "# Dashboard: "); ok {
			p.dashboard = rest
		}
		if rest, ok := strings.CutPrefix(line, "export "); ok {
			name, value, _ := strings.Cut(rest, "=")
			vars[name] = strings.Trim(value, "'")
			if name == "NODE_USE_ENV_PROXY" { // the last one
				break
			}
		}
	}
	p.proxy, p.caFile = vars["HTTPS_PROXY"], vars["SSL_CERT_FILE"]
	if p.proxy == "" || p.caFile == "" || p.dashboard == "" {
		return fmt.Errorf("examples/tenant printed no environment: %s", p.logText())
	}
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if !strings.Contains(strings.ToLower(name), "proxy") && vars[name] == "" && name != "PATH" {
			p.env = append(p.env, kv)
		}
	}
	for name, value := range vars {
		p.env = append(p.env, name+"="+value)
	}
	tools, err := filepath.Abs(".tools")
	if err != nil {
		return err
	}
	p.env = append(p.env, "PATH="+filepath.Join(tools, "venv", "bin")+":"+filepath.Join(tools, "bin")+":"+os.Getenv("PATH"),
		"MOZ_HEADLESS=1", "SE_OFFLINE=true", "SE_AVOID_STATS=true", "HOME="+p.dir)
	pem, err := os.ReadFile(p.caFile)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	proxyURL, err := url.Parse(p.proxy)
	if err != nil {
		return err
	}
	p.http = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		Proxy: http.ProxyURL(proxyURL), TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	st, err := p.fetchState()
	p.tenantID = st.TenantID
	return err
}

// Write keeps what the program logs.
func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *program) logText() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func (p *program) stop() {
	_ = p.cmd.Process.Signal(os.Interrupt)
	_ = p.cmd.Wait()
}

// state is what /state.json of the dashboard says.
type state struct {
	TenantID string                   `json:"tenantId"`
	Users    []entratest.UserStatus   `json:"users"`
	Devices  []entratest.DeviceStatus `json:"devices"`
	PRTs     []entratest.PRTStatus    `json:"prts"`
	SignIns  []entratest.SignIn       `json:"signIns"`
}

func (p *program) fetchState() (st state, err error) {
	resp, err := http.Get(p.dashboard + "state.json")
	if err != nil {
		return st, err
	}
	defer func() { _ = resp.Body.Close() }()
	return st, json.NewDecoder(resp.Body).Decode(&st)
}

func (p *program) state(t testing.TB) state {
	t.Helper()
	st, err := p.fetchState()
	require.NoError(t, err)
	return st
}

// press presses a button of the dashboard.
func (p *program) press(t testing.TB, event string, form url.Values) {
	t.Helper()
	resp, err := http.PostForm(p.dashboard+"do/"+event, form)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 400))
	require.Equal(t, http.StatusOK, resp.StatusCode, "%s: %s", event, body)
}

// command prepares a client in a directory of its own.
func (p *program) command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	path := name
	for _, kv := range p.env {
		if dirs, ok := strings.CutPrefix(kv, "PATH="); ok {
			for _, dir := range strings.Split(dirs, ":") {
				full := filepath.Join(dir, name)
				if st, err := os.Stat(full); err == nil && !st.IsDir() && path == name {
					path = full
				}
			}
		}
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = p.env
	cmd.Dir = t.TempDir()
	return cmd
}

// person is alice in front of a browser, with her authenticator app.
func person() entratest.Person {
	return entratest.Person{Username: alice, Password: alicePwd, TOTPSecret: aliceOTP}
}

// authorize lets somebody sign in at a URL and returns what came back: a code.
func (p *program) authorize(t testing.TB, who entratest.Person, client *http.Client, start, redirect string) map[string]string {
	t.Helper()
	out := p.redirected(t, who, client, start, redirect)
	require.NotEmpty(t, out["code"], "%v", out)
	return out
}

// redirected lets somebody sign in at a URL and returns what came back.
func (p *program) redirected(t testing.TB, who entratest.Person, client *http.Client, start, redirect string) map[string]string {
	t.Helper()
	got, err := who.Authorize(t.Context(), client, start, redirect)
	require.NoError(t, err)
	u, err := url.Parse(got)
	require.NoError(t, err)
	out := map[string]string{}
	for k, v := range u.Query() {
		out[k] = v[0]
	}
	return out
}
