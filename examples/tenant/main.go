// Command tenant runs an emulated Entra ID tenant that unmodified clients use.
//
//	go run ./examples/tenant
//
// It starts the emulator of package entratest behind an HTTP CONNECT proxy and
// prints the environment that points a client at it:
//
//	export HTTPS_PROXY=http://127.0.0.1:8470
//	export SSL_CERT_FILE=/tmp/…/ca.pem
//
// A shell with that environment signs in at login.microsoftonline.com and never
// leaves this machine: the proxy knows the emulated hosts and no others, and
// the certificate authority was made for this tenant and is trusted nowhere
// else. The dashboard, on a loopback address, shows users, devices, PRTs with
// their MFA claim, and the sign-in log; it revokes, disables, deletes, and moves
// the clock. The same and more is an API at the dashboard's address, below /api.
//
// A browser reads none of these variables: the program prints a command that
// starts Chromium, Chrome or Edge with a new profile that uses the proxy and
// trusts the tenant's key. For Firefox the dashboard says what to do.
//
// The state is in memory. With -data FILE it is kept there, with the keys and
// passwords of the emulated tenant, readable by its owner only.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "tenant:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	if o.schema {
		text, err := schema()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(stdout, "%s\n", text)
		return err
	}
	if o.health != "" {
		return checkHealth(ctx, o.health)
	}
	t, err := start(o, stderr)
	if err != nil {
		return err
	}
	if o.withParent {
		var end context.CancelFunc
		ctx, end = context.WithCancel(ctx)
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin) // until the other end is closed
			end()
		}()
	}
	t.announce(stdout)
	<-ctx.Done()
	return t.close()
}

// healthTimeout bounds the request of -health.
const healthTimeout = 5 * time.Second

// checkHealth asks a running tenant whether it is ready, as the health check of an image
// that contains no other program.
func checkHealth(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("-health: %w", err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r) // no proxy of the environment
	if err != nil {
		return fmt.Errorf("-health: %w", err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("-health: %s answered %s", url, resp.Status)
	}
	return nil
}

// fromEnvironment sets the flags that the command line does not: -exit-with-parent is
// TENANT_EXIT_WITH_PARENT.
func fromEnvironment(flags *flag.FlagSet) (err error) {
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	flags.VisitAll(func(f *flag.Flag) {
		name := "TENANT_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v, ok := os.LookupEnv(name); ok && !given[f.Name] && err == nil {
			if e := flags.Set(f.Name, v); e != nil {
				err = fmt.Errorf("%s: %w", name, e)
			}
		}
	})
	return err
}

// options are the flags. The zero value of each is what its flag says.
type options struct {
	proxy     string
	dashboard string
	domain    string
	policies  string
	data      string
	caFile    string
	clock     string
	seed      uint64
	apiToken  string
	verbose   bool

	config          string
	configText      string
	graph           string
	graphPassword   string
	listen          string
	base            string
	hosts           string
	insecureHTTP    bool
	insecureExposed bool
	withParent      bool
	schema          bool
	health          string
}

// hostNames are the names of -hosts and of -base.
func (o *options) hostNames() []string {
	names := strings.FieldsFunc(o.hosts, func(r rune) bool { return r == ',' || r == ' ' })
	if u, err := url.Parse(o.base); err == nil && u.Hostname() != "" {
		names = append(names, u.Hostname())
	}
	return names
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("tenant", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.proxy, "proxy", "127.0.0.1:8470", "loopback `address` of the CONNECT proxy; port 0 takes a free one")
	flags.StringVar(&o.dashboard, "dashboard", "127.0.0.1:8471", "loopback `address` of the dashboard; port 0 takes a free one")
	flags.StringVar(&o.domain, "domain", "contoso.example", "verified `domain` of a new tenant")
	flags.StringVar(&o.policies, "policies", "", "`file` with Conditional Access policies as Microsoft Graph exports them")
	flags.StringVar(&o.data, "data", "", "`file` that keeps the state; without it the state is in memory")
	flags.StringVar(&o.caFile, "ca", "", "`file` to write the certificate authority to; the default is beside -data or in a temporary directory")
	flags.StringVar(&o.clock, "clock", "", "`time` (RFC 3339) at which the tenant's clock starts to run; the default is now")
	flags.Uint64Var(&o.seed, "seed", 0, "seed of a new tenant's identifiers; 0 takes a random one")
	flags.StringVar(&o.apiToken, "api-token", "", "bearer `token` of the administration API; the default is a random one, which is printed")
	flags.BoolVar(&o.verbose, "v", false, "log what clients do wrong")
	flags.StringVar(&o.config, "config", "", "YAML or JSON `file` with the users, groups, apps and policies of a new tenant; -schema prints what it may hold")
	flags.StringVar(&o.listen, "listen", "", "`address`, such as localhost:8443, at which the tenant is an authority in its own right, for clients that cannot use the proxy")
	flags.StringVar(&o.configText, "config-text", "", "the `text` of such a file, for containers without mounted files")
	flags.StringVar(&o.graph, "graph", "", "`directory` with replies of Microsoft Graph that describe a new tenant: users, groups, applications, devices, policies")
	flags.StringVar(&o.graphPassword, "graph-password", "correct horse", "with -graph: `password` of every user, and secret of every application with one, since an export has neither")
	flags.StringVar(&o.base, "base", "", "with -listen: the `URL` under which clients reach that address, such as https://localhost:8443, if it is another: behind a mapped port, a reverse proxy or another host name")
	flags.StringVar(&o.hosts, "hosts", "", "more host `names`, separated by commas, under which clients reach -listen and browsers the dashboard; each is an authority in its own right, at any port")
	flags.BoolVar(&o.insecureHTTP, "insecure-http", false, "with -listen: without TLS")
	flags.BoolVar(&o.insecureExposed, "insecure-exposed", false, "let -proxy, -dashboard and -listen be addresses that other machines reach, as in a container: anyone who reaches them controls the tenant")
	flags.BoolVar(&o.withParent, "exit-with-parent", false, "exit when standard input ends, as it does when the program that started this one has exited")
	flags.BoolVar(&o.schema, "schema", false, "print the JSON Schema of -config files and exit")
	flags.StringVar(&o.health, "health", "", "ask `URL`, such as http://127.0.0.1:8471/health, whether a tenant is ready, and exit: status 0 means yes")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if err := fromEnvironment(flags); err != nil {
		return o, err
	}
	if o.config != "" && o.configText != "" {
		return o, errors.New("-config and -config-text: give one of them")
	}
	if o.graph != "" && (o.config != "" || o.configText != "") {
		return o, errors.New("-graph and a configuration both describe the tenant: give one of them")
	}
	if o.listen == "" && (o.base != "" || o.insecureHTTP) {
		return o, errors.New("-base and -insecure-http say how -listen is served: give -listen too")
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return o, nil
}
