// Command whatif answers, offline, what Conditional Access would say of a
// sign-in: the What If page of the Entra admin center over a folder of
// exported policies.
//
//	whatif -policies DIR -user alice -app exchange -ip 203.0.113.7 -platform windows
//
// prints every policy with whether it applies, or the first condition it does
// not meet, and then the decision in words. With -json it prints what
// Microsoft Graph's conditionalAccess/evaluate answers.
//
//	whatif -policies DIR -matrix personas.json -html report.html
//
// judges every persona's every sign-in and writes one self-contained page:
// the gaps first, then policies × sign-ins with an explanation in each cell.
//
//	whatif -policies DIR -permute
//
// judges every combination of the values that the policies themselves name and
// merges them into the distinct outcomes, the gaps first.
//
//	whatif diff OLD NEW
//
// says which sign-ins gain or lose which control when one export takes the
// place of another, as text, JSON, JUnit or SARIF; see "whatif diff -h".
//
//	whatif -tenant contoso.com -o DIR
//
// signs in by a device code and fetches the export from Microsoft Graph, which
// it only reads.
//
// The exit status is 0 for an answer, 1 when a sign-in did not end as expected
// or, with diff, changed; 2 for bad input; and 3 for an answer without the files
// of the export that could not be read.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/policy"
)

// Exit statuses.
const (
	statusAnswer     = 0
	statusUnexpected = 1
	statusBadInput   = 2
	statusIncomplete = 3
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, time.Now))
}

// config is the command line.
type config struct {
	reading
	policies string
	matrix   string
	permute  bool
	html     string
	json     bool
	persona  persona
	attempt  attempt
	fetch    fetching
}

// reading is how an export is read.
type reading struct {
	states     states
	failClosed bool
	trustedIPs []netip.Prefix
}

func run(args []string, stdout, stderr io.Writer, now func() time.Time) int {
	command := answer
	if len(args) > 0 && args[0] == "diff" {
		command, args = compare, args[1:]
	}
	status, err := command(args, stdout, stderr, now)
	if errors.Is(err, flag.ErrHelp) {
		return statusAnswer
	}
	if err != nil {
		fmt.Fprintf(stderr, "whatif: %v.\n", err)
		return statusBadInput
	}
	return status
}

func answer(args []string, stdout, stderr io.Writer, now func() time.Time) (int, error) {
	cfg, err := parseFlags(args, stderr)
	if err != nil {
		return 0, err
	}
	if cfg.fetch.domain != "" {
		return cfg.fetch.run(stdout, stderr)
	}
	t, err := openTenant(cfg.policies, cfg.reading)
	if err != nil {
		return 0, err
	}
	status, err := answerFrom(cfg, t, stdout, stderr, now())
	if err == nil && len(t.broken) > 0 {
		status = statusIncomplete
	}
	return status, err
}

func answerFrom(cfg config, t *tenant, stdout, stderr io.Writer, now time.Time) (int, error) {
	switch {
	case cfg.matrix != "":
		return answerMatrix(cfg, t, stdout, now)
	case cfg.permute:
		return answerPermuted(cfg, t, stdout, stderr, now)
	}
	in, err := t.signIn(cfg.persona, cfg.attempt, now)
	if err != nil {
		return 0, err
	}
	ex := t.set.Explain(in)
	if ex.Decision.Outcome == policy.OutcomeInvalid {
		return 0, fmt.Errorf("this sign-in cannot be evaluated: %s", invalidText(ex.Decision.Reason))
	}
	if cfg.json {
		t.writeBroken(stderr)
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return statusAnswer, enc.Encode(ex)
	}
	return statusAnswer, t.writeTable(stdout, in, &ex)
}

func answerMatrix(cfg config, t *tenant, stdout io.Writer, now time.Time) (int, error) {
	m, err := loadMatrix(cfg.matrix)
	if err != nil {
		return 0, err
	}
	rep, err := t.judge(m, now)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", cfg.matrix, err)
	}
	if err := rep.save(cfg.html); err != nil {
		return 0, err
	}
	t.writeBroken(stdout)
	if err := rep.writeSummary(stdout); err != nil {
		return 0, err
	}
	if len(rep.Unexpected) > 0 {
		return statusUnexpected, nil
	}
	return statusAnswer, nil
}

// tenant is a compiled export, with the messages of its loader.
type tenant struct {
	folder      string
	bundle      *policy.Bundle
	options     []policy.Option
	set         *policy.Set
	diagnostics []policy.Diagnostic
	broken      []string // files that could not be read, and why
	assumed     string   // what was said of the states of policies; "": nothing
	names       names
}

func openTenant(folder string, r reading) (*tenant, error) {
	info, err := os.Stat(folder)
	if err != nil {
		return nil, plain(err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a folder", folder)
	}
	bundle, diags, err := policy.LoadFS(os.DirFS(folder))
	if len(bundle.Policies) == 0 {
		if err != nil {
			return nil, fmt.Errorf("the export cannot be read: %s", trimPackage(err))
		}
		return nil, fmt.Errorf("no Conditional Access policy was found below %s", folder)
	}
	t := &tenant{folder: folder, bundle: bundle, broken: brokenFiles(err)}
	if t.assumed, err = r.states.apply(bundle); err != nil {
		return nil, err
	}
	if r.failClosed {
		t.options = append(t.options, policy.FailClosed())
	}
	if len(r.trustedIPs) > 0 {
		t.options = append(t.options, policy.WithTrustedIPs(r.trustedIPs...))
	}
	if t.set, err = policy.Compile(bundle, t.options...); err != nil {
		return nil, fmt.Errorf("the export cannot be compiled: %s", trimPackage(err))
	}
	diags = slices.DeleteFunc(diags, func(d policy.Diagnostic) bool {
		return d.File == personasFile && d.Code == policy.CodeUnknownThing
	})
	t.diagnostics = merge(diags, t.set.Diagnostics())
	t.names = namesOf(bundle)
	return t, nil
}

// brokenFiles splits the error of LoadFS into one per file.
func brokenFiles(err error) (list []string) {
	if err == nil {
		return nil
	}
	for line := range strings.Lines(err.Error()) {
		list = append(list, strings.TrimPrefix(strings.TrimSpace(line), "policy: "))
	}
	return list
}

// writeBroken says first which files are missing from an answer.
func (t *tenant) writeBroken(w io.Writer) {
	if len(t.broken) == 0 {
		return
	}
	fmt.Fprintf(w, "%s could not be read and %s left out:\n", count(len(t.broken), "file", "files"), map[bool]string{true: "is", false: "are"}[len(t.broken) == 1])
	for _, b := range t.broken {
		fmt.Fprintf(w, "  %s\n", b)
	}
	fmt.Fprintln(w)
}

// merge adds what compiling found and loading did not.
func merge(loaded, compiled []policy.Diagnostic) []policy.Diagnostic {
	for _, d := range compiled {
		if !slices.Contains(loaded, d) {
			loaded = append(loaded, d)
		}
	}
	return loaded
}

// plain words a file error as a person would.
func plain(err error) error {
	var pe *fs.PathError
	if !errors.As(err, &pe) {
		return err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no %s", pe.Path)
	}
	return fmt.Errorf("%s: %w", pe.Path, pe.Err)
}

// trimPackage drops the "policy: " that the package's errors start with, and
// of many errors tells the first.
func trimPackage(err error) string {
	first, rest, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	first = strings.TrimPrefix(first, "policy: ")
	if rest == "" {
		return first
	}
	return fmt.Sprintf("%s (and %s)", first, count(1+strings.Count(rest, "\n"), "more file", "more files"))
}
