package interop

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(runMain(m)) }

func runMain(m *testing.M) int {
	if os.Getenv("PRTBROKER_INTEROP") == "" {
		fmt.Println("interop: not run; make interop installs the clients and runs them")
		return 0
	}
	dir, err := os.MkdirTemp("", "interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if running, err = startTenant(dir); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		return 1
	}
	defer running.stop()
	code := m.Run()
	fmt.Print(results.whatRan())
	if code != 0 && os.Getenv("INTEROP_LOG") != "" {
		fmt.Fprintln(os.Stderr, running.logText())
	}
	table := results.table()
	fmt.Println(table)
	if code == 0 && results.complete() {
		if err := compareReadme(table); err != nil {
			fmt.Fprintln(os.Stderr, "interop:", err)
			return 1
		}
	}
	return code
}

// clients in the order of the table.
var clients = []string{"MSAL Go", "azidentity for Go", "MSAL Python", "MSAL Node", "roadtx", "go-oidc", "curl and OpenSSL", "openapi-spec-validator", "jsonschema (Python)", "Chromium", "MSAL.js in Chromium", "Firefox", "client-go", himmelblauClient, pythonFIDO2, firmware,
	"MSAL Java", "azure-identity Python", "azure-identity Node", "Azure CLI", "kubelogin", "oauth2-proxy", "git-credential-azure", "msalruntime (pymsalruntime)", "msalruntime by dsreg broker proxy", "MSAL Python with the broker", "MSAL Node with the broker (msal-node-runtime)",
	"Azure CLI with the broker", "Chromium with nativehost", "gdbus and busctl",
	authdClient}

// results collects what ran.
var results resultList

type result struct {
	client, flow, outcome string
	order                 int
}

type resultList struct {
	mu      sync.Mutex // guards what follows
	list    []result
	skipped map[string]string // client to reason
}

// notRun says why a client has no rows in this run.
func (r *resultList) notRun(client, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.skipped == nil {
		r.skipped = map[string]string{}
	}
	r.skipped[client] = why
}

// flow runs one flow of a client and enters it into the table with what the
// client saw.
func flow(t *testing.T, client, name string, run func(t *testing.T) string) {
	t.Helper()
	saw, ok := "FAILED", false
	order := results.begin()
	t.Run(name, func(t *testing.T) {
		defer func() { ok = !t.Failed() && !t.Skipped() }()
		saw = run(t)
	})
	if !ok {
		saw = "FAILED"
	}
	results.add(result{client, name, saw, order})
}

func (r *resultList) begin() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, result{})
	return len(r.list)
}

func (r *resultList) add(e result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list[e.order-1] = e
}

func (r *resultList) complete() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range clients {
		if r.skipped[c] == "" && !slices.ContainsFunc(r.list, func(e result) bool { return e.client == c }) {
			return false
		}
	}
	return true
}

// whatRan says which clients ran, and why the others did not.
func (r *resultList) whatRan() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for _, c := range clients {
		rows := 0
		for _, e := range r.list {
			if e.client == c {
				rows++
			}
		}
		switch {
		case r.skipped[c] != "":
			fmt.Fprintf(&b, "interop: %s: not run, %s\n", c, r.skipped[c])
		case rows > 0:
			fmt.Fprintf(&b, "interop: %s: %d flows\n", c, rows)
		}
	}
	return b.String()
}

// withRowsOf is a table with the rows of clients that did not run taken from the
// one before.
func (r *resultList) withRowsOf(before, table string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	rows := strings.SplitAfter(table, "\n")
	for line := range strings.Lines(before) {
		if client := clientOf(line); client != "" && r.skipped[client] != "" {
			rows = append(rows, line)
		}
	}
	rows = slices.DeleteFunc(rows, func(line string) bool { return line == "" })
	head := rows[:2]
	slices.SortStableFunc(rows[2:], func(a, b string) int {
		return cmp.Compare(slices.Index(clients, clientOf(a)), slices.Index(clients, clientOf(b)))
	})
	return strings.Join(append(head, rows[2:]...), "")
}

// clientOf reads the first cell of a row.
func clientOf(line string) string {
	cells := strings.SplitN(line, " | ", 2)
	return strings.TrimPrefix(cells[0], "| ")
}

func (r *resultList) table() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := slices.DeleteFunc(slices.Clone(r.list), func(e result) bool { return e.client == "" })
	slices.SortStableFunc(list, func(a, b result) int {
		return cmp.Or(cmp.Compare(slices.Index(clients, a.client), slices.Index(clients, b.client)), cmp.Compare(a.flow, b.flow))
	})
	var b strings.Builder
	b.WriteString("| client | flow | result |\n|---|---|---|\n")
	for _, e := range list {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", e.client, e.flow, e.outcome)
	}
	return b.String()
}

const (
	readme     = "README.md"
	tableBegin = "<!-- the table that make interop printed -->\n"
	tableEnd   = "<!-- end -->\n"
)

// compareReadme holds the table of the README against the one of this run, or
// with INTEROP_UPDATE set writes it there.
func compareReadme(table string) error {
	text, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(text, []byte(tableBegin))
	old, after, ok2 := bytes.Cut(rest, []byte(tableEnd))
	if !ok || !ok2 {
		return fmt.Errorf("%s has no place for the table", readme)
	}
	if table = results.withRowsOf(string(old), table); string(old) == table {
		return nil
	}
	if os.Getenv("INTEROP_UPDATE") == "" {
		return fmt.Errorf("%s shows another table than this run's; look at the difference, then run with INTEROP_UPDATE=1", readme)
	}
	return os.WriteFile(readme, slices.Concat(before, []byte(tableBegin), []byte(table), []byte(tableEnd), after), 0o644)
}
