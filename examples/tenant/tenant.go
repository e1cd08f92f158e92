package main

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/entratest/admin"
	"github.com/prtbroker/prtbroker/broker/entratest/seed"
)

// tenant is the running program.
type tenant struct {
	o     options
	srv   *entratest.Server
	clock *entratest.Clock
	logf  func(format string, args ...any)

	proxy     *proxy
	proxyLn   net.Listener
	dashLn    net.Listener
	servers   []*http.Server
	caFile    string
	authority string // base of -listen; "": none
	tempDir   string // "": the CA is where the user wants it
	keeper    *keeper
	closed    bool
	dashboard *dashboard
}

func start(o options, stderr io.Writer) (*tenant, error) {
	var mu sync.Mutex // guards stderr
	t := &tenant{o: o, logf: func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(stderr, "tenant: "+format+"\n", args...)
	}}
	if t.o.apiToken == "" {
		t.o.apiToken = rand.Text()
	}
	if err := t.open(); err != nil {
		_ = t.close()
		return nil, err
	}
	quiet := t.logf
	if !o.verbose {
		quiet = func(string, ...any) {}
	}
	t.proxy = newProxy(t.srv.DialContext, quiet)
	t.dashboard = newDashboard(t.srv, t.clock, t.environment(), t.dashLn.Addr().String())
	t.dashboard.browser, t.dashboard.authority = t.browser(), t.authority
	t.dashboard.exposed, t.dashboard.hosts = o.insecureExposed, t.o.hostNames()
	t.dashboard.serveAPI(admin.New(t.srv, admin.Options{Token: t.o.apiToken, Clock: t.clock, Hosts: t.o.hostNames()}))
	t.servers = append(t.servers,
		serve(t.proxyLn, t.proxy, t.logf),
		serve(t.dashLn, t.dashboard, t.logf))
	if o.data != "" {
		t.keeper = keep(t.srv, o.data, t.logf)
	}
	return t, nil
}

// open opens what may fail to open: the data, the file, the ports.
func (t *tenant) open() (err error) {
	if err := t.startServer(); err != nil {
		return err
	}
	if t.proxyLn, err = listen("-proxy", t.o.proxy, t.o.insecureExposed); err != nil {
		return err
	}
	if t.dashLn, err = listen("-dashboard", t.o.dashboard, t.o.insecureExposed); err != nil {
		return err
	}
	if t.o.listen != "" {
		lo := entratest.ListenOptions{Base: t.o.base, Hosts: t.o.hostNames(), InsecureHTTP: t.o.insecureHTTP, InsecureExposed: t.o.insecureExposed}
		if t.o.base != "" { // it is fixed: its host name at another port is not an authority of its own
			lo.Hosts = lo.Hosts[:len(lo.Hosts)-1]
		}
		if t.authority, err = t.srv.Listen(t.o.listen, lo); err != nil {
			return fmt.Errorf("-listen: %w", err)
		}
	}
	return t.writeCA()
}

// startServer starts the emulator, from the data file when there is one.
func (t *tenant) startServer() (err error) {
	o := entratest.Options{Domain: t.o.domain, Seed: t.o.seed}
	if t.o.verbose {
		o.Logf = t.logf
	}
	cfg, err := t.config()
	if err != nil {
		return err
	}
	start := time.Now()
	if t.o.clock == "" && cfg != nil {
		t.o.clock = cfg.Clock
	}
	if t.o.clock != "" {
		if start, err = time.Parse(time.RFC3339, t.o.clock); err != nil {
			return fmt.Errorf("-clock: %w", err)
		}
	}
	t.clock = entratest.NewRunningClock(start)
	o.Clock = t.clock
	if o.Seed == 0 {
		var b [8]byte
		_, _ = rand.Read(b[:]) // crypto/rand does not fail
		o.Seed = binary.LittleEndian.Uint64(b[:])
	}
	if t.o.data != "" {
		switch o.State, err = os.ReadFile(t.o.data); {
		case err == nil && t.o.clock != "":
			return fmt.Errorf("-clock: %s stores the clock; move it on the dashboard", t.o.data)
		case err == nil:
		case errors.Is(err, fs.ErrNotExist):
			o.State = nil
		default:
			return err
		}
	}
	switch {
	case o.State != nil:
	case t.o.graph != "":
		if err := t.fromGraph(&o); err != nil {
			return fmt.Errorf("-graph: %w", err)
		}
	case cfg != nil:
		if err := cfg.apply(&o); err != nil {
			return fmt.Errorf("-config: %w", err)
		}
	default:
		o.Users, o.Apps, o.Policies = seedUsers(o.Domain), seedApps(o.Domain), seedPolicies()
		o.Federated = []string{federatedDomain(o.Domain)}
	}
	if t.o.policies != "" {
		text, err := os.ReadFile(t.o.policies)
		if err != nil {
			return err
		}
		o.Policies = json.RawMessage(text)
	}
	t.srv, err = entratest.Start(o)
	return err
}

// fromGraph fills in the options from an export, and says what they do not represent.
func (t *tenant) fromGraph(o *entratest.Options) error {
	exported, err := seed.FromGraph(os.DirFS(t.o.graph), seed.Config{Password: t.o.graphPassword, Secret: t.o.graphPassword})
	if err != nil {
		return err
	}
	for _, r := range exported.Remarks {
		t.logf("-graph: %v", r)
	}
	from := exported.Options
	from.Clock, from.Logf, from.Seed = o.Clock, o.Logf, o.Seed
	from.Domain = cmp.Or(from.Domain, o.Domain)
	*o = from
	return nil
}

// config reads the file of -config, or -config-text. It returns nil if there is neither.
func (t *tenant) config() (*config, error) {
	if t.o.configText != "" {
		return configOf([]byte(t.o.configText), "-config-text", ".")
	}
	if t.o.config == "" {
		return nil, nil
	}
	return readConfig(t.o.config)
}

// writeCA puts the authority's certificate where the environment points to. Where there
// is no directory for it, as in an image that contains nothing else, clients take it
// from the dashboard.
func (t *tenant) writeCA() (err error) {
	switch {
	case t.o.caFile != "":
		t.caFile = t.o.caFile
	case t.o.data != "":
		t.caFile = t.o.data + ".ca.pem"
	default:
		if t.tempDir, err = os.MkdirTemp("", "tenant-"); err != nil {
			return nil
		}
		t.caFile = filepath.Join(t.tempDir, "ca.pem")
	}
	if t.caFile, err = filepath.Abs(t.caFile); err != nil {
		return err
	}
	return os.WriteFile(t.caFile, t.srv.CA(), 0o644)
}

// variable is one line of the environment that points a client here.
type variable struct{ Name, Value, For string }

func (t *tenant) environment() []variable {
	toProxy := []variable{
		{"HTTPS_PROXY", "http://" + reachable(t.proxyLn), "most clients"},
		{"NO_PROXY", "localhost,127.0.0.1", "redirects to loopback"},
	}
	if t.caFile == "" {
		return append(toProxy, variable{"NODE_USE_ENV_PROXY", "1", "Node.js 24 and 22.21 on"})
	}
	return append(toProxy, []variable{
		{"SSL_CERT_FILE", t.caFile, "Go, OpenSSL"},
		{"CURL_CA_BUNDLE", t.caFile, "curl"},
		{"REQUESTS_CA_BUNDLE", t.caFile, "Python requests"},
		{"NODE_EXTRA_CA_CERTS", t.caFile, "Node.js"},
		{"NODE_USE_ENV_PROXY", "1", "Node.js 24 and 22.21 on"},
	}...)
}

// browser returns a command line that starts a browser for this tenant, with a new
// profile. It trusts only the server's key: an everyday profile that trusted the
// authority would accept its certificates for every site.
func (t *tenant) browser() string {
	return fmt.Sprintf("chromium --user-data-dir=\"$(mktemp -d)\" --no-first-run --proxy-server=http://%s --ignore-certificate-errors-spki-list=%s",
		reachable(t.proxyLn), t.serverKey())
}

// serverKey returns the hash of the key of the tenant's TLS certificate as Chromium
// takes it, or "" if the tenant does not answer.
func (t *tenant) serverKey() string {
	conn, err := tls.Dial("tcp", t.srv.Addr(), &tls.Config{RootCAs: t.srv.CertPool(), ServerName: "localhost", MinVersion: tls.VersionTLS12})
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	sum := sha256.Sum256(conn.ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

func (t *tenant) announce(w io.Writer) {
	fmt.Fprintf(w, "# Tenant %s (%s), emulated. Nothing here reaches Microsoft.\n", t.srv.Domain(), t.srv.TenantID())
	fmt.Fprintf(w, "# Dashboard: http://%s/\n", reachable(t.dashLn))
	fmt.Fprintf(w, "# Certificate authority: http://%s/ca.pem\n", reachable(t.dashLn))
	for _, u := range t.srv.Users() {
		fmt.Fprintf(w, "# User: %s, password %q\n", u.Username, u.Password)
	}
	if t.o.config == "" && t.o.configText == "" && t.o.graph == "" {
		t.announceSeed(w)
	}
	if t.authority != "" {
		fmt.Fprintf(w, "# Authority: %s%s\n", t.authority, t.srv.TenantID())
	}
	fmt.Fprintf(w, "# Browser: %s\n", t.browser())
	for _, v := range append(t.environment(),
		variable{"TENANT_API", fmt.Sprintf("http://%s/api", reachable(t.dashLn)), "administration"},
		variable{"TENANT_API_TOKEN", t.o.apiToken, "administration"}) {
		fmt.Fprintf(w, "export %s=%s\n", v.Name, shellQuote(v.Value))
	}
	fmt.Fprintln(w, "# ready")
}

// announceSeed prints what a tenant contains that was not configured.
func (t *tenant) announceSeed(w io.Writer) {
	fmt.Fprintf(w, "# Codes and prompts of their authenticator apps are on the dashboard; dave is federated (WS-Trust).\n")
	for _, a := range seedApps(t.srv.Domain()) {
		secret := ""
		if a.Secret != "" {
			secret = fmt.Sprintf(", secret %q", a.Secret)
		}
		if kind := kindOf(a); kind != "" {
			fmt.Fprintf(w, "# Client: %s (%s%s; %s)\n", a.ClientID, kind, secret, strings.Join(a.Redirects, " "))
		}
	}
	fmt.Fprintf(w, "# Resource: %s requires MFA, %s is blocked\n", payrollURI, secretsURI)
}

// close stops everything and keeps the state; a second call does nothing.
func (t *tenant) close() error {
	if t.closed {
		return nil
	}
	t.closed = true
	for _, s := range t.servers {
		_ = s.Close()
	}
	for _, ln := range []net.Listener{t.proxyLn, t.dashLn} {
		if ln != nil {
			_ = ln.Close()
		}
	}
	if t.proxy != nil {
		t.proxy.close()
	}
	var err error
	if t.keeper != nil {
		err = t.keeper.close()
	}
	if t.srv != nil {
		t.srv.Close()
	}
	if t.tempDir != "" {
		_ = os.RemoveAll(t.tempDir)
	}
	return err
}
