package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

// graphCommandLine is Microsoft Graph Command Line Tools, the client of
// Connect-MgGraph: a public client that tenants already know.
const graphCommandLine = "14d82eec-204b-4c2f-b7e8-296a70dab67e"

// The delegated permissions: the first reads policies, named locations and
// strengths, the second users with their groups and roles (Microsoft Graph,
// "List policies" and "List a user's memberships (transitive)").
const (
	scopePolicies  = "https://graph.microsoft.com/Policy.Read.All"
	scopeDirectory = "https://graph.microsoft.com/Directory.Read.All"
)

// personasFile is in the folder of an export without being a part of it.
const personasFile = "personas.json"

// fetching is what -tenant needs.
type fetching struct {
	domain, folder, personas, client, state string

	transport broker.Transport // of tests; nil: the network
}

func (f *fetching) check(fs *flag.FlagSet) error {
	if f.folder == "" {
		return errors.New("no folder: use -o to say where to write the export")
	}
	if _, err := os.Lstat(f.folder); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s exists already; -o names a new folder", f.folder)
	}
	var stray error
	fs.Visit(func(fl *flag.Flag) {
		switch fl.Name {
		case "tenant", "o", "personas", "client", "state":
		default:
			stray = fmt.Errorf("-%s is about evaluation; -tenant only fetches an export", fl.Name)
		}
	})
	return stray
}

// run fetches an export. The folder appears when it is complete.
func (f *fetching) run(stdout, stderr io.Writer) (status int, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var m *matrix
	if f.personas != "" {
		if m, err = loadMatrix(f.personas); err != nil {
			return 0, err
		}
	}
	token, err := f.signIn(ctx, stderr)
	if err != nil {
		return 0, fmt.Errorf("the sign-in to %s failed: %w", f.domain, err)
	}
	parent, name := filepath.Split(filepath.Clean(f.folder))
	draft, err := os.MkdirTemp(parent, "."+name+"-*")
	if err != nil {
		return 0, plain(err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(draft)) }()
	e := exporter{graph: newGraph(f.transport, token), folder: draft}
	if err := e.export(ctx, m); err != nil {
		return 0, err
	}
	if err := os.Chmod(draft, 0o755); err != nil {
		return 0, plain(err)
	}
	if err := os.Rename(draft, f.folder); err != nil {
		return 0, plain(err)
	}
	fmt.Fprintf(stdout, "Fetched %s of %s into %s.\n", enumerate(e.counts), f.domain, f.folder)
	return statusAnswer, nil
}

// signIn gets a token for Microsoft Graph: by the PRT of -state if it has one,
// by a device code otherwise.
func (f *fetching) signIn(ctx context.Context, stderr io.Writer) (_ string, err error) {
	cfg := broker.Config{
		Tenant: f.domain, App: broker.App{ClientID: f.client}, Transport: f.transport,
		AllowUnbound: true,
	}
	if cfg.Keys, err = f.keys(ctx); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, cfg.Keys.Close()) }()
	if f.state != "" {
		if cfg.Store, err = store.NewFile(filepath.Join(f.state, "state")); err != nil {
			return "", err
		}
	}
	b, err := broker.New(ctx, cfg)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	scopes := []string{scopePolicies}
	if f.personas != "" {
		scopes = append(scopes, scopeDirectory)
	}
	if f.state != "" {
		res, err := b.AcquireTokenSilent(ctx, scopes)
		if err == nil {
			return res.AccessToken, nil
		}
		fmt.Fprintf(stderr, "No token without the user: %v.\n", err)
	}
	dc, err := b.AcquireTokenByDeviceCode(ctx, scopes)
	if err != nil {
		return "", err
	}
	fmt.Fprintln(stderr, dc.Message)
	res, err := dc.AuthenticationResult(ctx)
	return res.AccessToken, err
}

// keys opens the keys of -state: software keys where the folder has some, this
// computer's TPM otherwise. Without -state the keys end with the process.
func (f *fetching) keys(ctx context.Context) (tpm.KeyStore, error) {
	if f.state == "" {
		secret := make([]byte, 32)
		rand.Read(secret) // never fails
		return softkeys.Open(softkeys.Secret(secret))
	}
	if _, err := os.Stat(f.state); err != nil {
		return nil, plain(err)
	}
	master := filepath.Join(f.state, "keys", "master.key")
	if _, err := os.Stat(master); err == nil {
		return softkeys.Open(softkeys.File(master))
	}
	return tpm.Open(ctx, tpm.Default(), tpm.Config{})
}

// An exporter writes what Graph lists into a folder, a file for each object.
type exporter struct {
	graph  *graph
	folder string
	counts []string // what was written, as "3 policies"
}

func (e *exporter) export(ctx context.Context, m *matrix) error {
	for _, c := range []struct{ path, folder, one, many string }{
		{"/identity/conditionalAccess/policies", "policies", "policy", "policies"},
		{"/identity/conditionalAccess/namedLocations", "locations", "named location", "named locations"},
		{"/policies/authenticationStrengthPolicies?$expand=combinationConfigurations", "strengths", "authentication strength", "authentication strengths"},
	} {
		values, err := e.graph.list(ctx, c.path)
		if err != nil {
			return err
		}
		for _, v := range values {
			if err := e.writeObject(c.folder, v); err != nil {
				return err
			}
		}
		e.counts = append(e.counts, count(len(values), c.one, c.many))
	}
	if m == nil {
		return nil
	}
	for i := range m.Personas {
		if err := e.graph.fillIn(ctx, &m.Personas[i]); err != nil {
			return fmt.Errorf("persona %q: %w", m.Personas[i].Name, err)
		}
	}
	e.counts = append(e.counts, count(len(m.Personas), "persona", "personas"))
	return e.write(personasFile, m)
}

func (e *exporter) writeObject(folder string, object json.RawMessage) error {
	var named struct {
		ID   string `json:"id"`
		Name string `json:"displayName"`
	}
	if err := json.Unmarshal(object, &named); err != nil || named.ID == "" {
		return fmt.Errorf("an object without an id is among the %s that Graph lists", folder)
	}
	return e.write(filepath.Join(folder, fileName(named.Name, named.ID)), object)
}

func (e *exporter) write(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	file := filepath.Join(e.folder, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return plain(err)
	}
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return plain(err)
	}
	_, err = out.Write(append(data, '\n'))
	return errors.Join(err, out.Close())
}

// fileName is safe on every file system, whatever the display name is. The id
// keeps policies of the same name apart.
func fileName(name, id string) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	slug := strings.Join(words, "-")
	if len(slug) > 60 {
		slug = slug[:60]
	}
	id = strings.Map(func(r rune) rune {
		if r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, id)
	return strings.Trim(slug+"-"+id, "-") + ".json"
}
