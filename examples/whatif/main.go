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
// The exit status is 0 for an answer, 1 when a sign-in of the matrix did not
// end as it expects, 2 for bad input.
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
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/policy"
)

// Exit statuses.
const (
	statusAnswer     = 0
	statusUnexpected = 1
	statusBadInput   = 2
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, time.Now))
}

// config is the command line.
type config struct {
	policies   string
	matrix     string
	html       string
	json       bool
	failClosed bool
	trustedIPs []netip.Prefix
	persona    persona
	attempt    attempt
}

func run(args []string, stdout, stderr io.Writer, now func() time.Time) int {
	status, err := answer(args, stdout, stderr, now)
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
	t, err := openTenant(cfg)
	if err != nil {
		return 0, err
	}
	if cfg.matrix != "" {
		return answerMatrix(cfg, t, stdout, now())
	}
	in, err := t.signIn(cfg.persona, cfg.attempt, now())
	if err != nil {
		return 0, err
	}
	ex := t.set.Explain(in)
	if ex.Decision.Outcome == policy.Invalid {
		return 0, fmt.Errorf("this sign-in cannot be judged: %s", invalidText(ex.Decision.Reason))
	}
	if cfg.json {
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
	if cfg.html != "" {
		page, err := rep.page()
		if err != nil {
			return 0, err
		}
		if err := os.WriteFile(cfg.html, page, 0o644); err != nil {
			return 0, plain(err)
		}
	}
	if err := rep.writeSummary(stdout); err != nil {
		return 0, err
	}
	if len(rep.Unexpected) > 0 {
		return statusUnexpected, nil
	}
	return statusAnswer, nil
}

// tenant is an export, compiled, with what its loader had to say.
type tenant struct {
	folder      string
	set         *policy.Set
	diagnostics []policy.Diagnostic
	names       names
}

func openTenant(cfg config) (*tenant, error) {
	info, err := os.Stat(cfg.policies)
	if err != nil {
		return nil, plain(err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a folder", cfg.policies)
	}
	bundle, diags, err := policy.LoadFS(os.DirFS(cfg.policies))
	if err != nil {
		return nil, fmt.Errorf("the export cannot be read: %s", trimPackage(err))
	}
	if len(bundle.Policies) == 0 {
		return nil, fmt.Errorf("no Conditional Access policy was found below %s", cfg.policies)
	}
	var opts []policy.Option
	if cfg.failClosed {
		opts = append(opts, policy.FailClosed())
	}
	if len(cfg.trustedIPs) > 0 {
		opts = append(opts, policy.WithTrustedIPs(cfg.trustedIPs...))
	}
	set, err := policy.Compile(bundle, opts...)
	if err != nil {
		return nil, fmt.Errorf("the export cannot be compiled: %s", trimPackage(err))
	}
	return &tenant{
		folder:      cfg.policies,
		set:         set,
		diagnostics: merge(diags, set.Diagnostics()),
		names:       namesOf(bundle),
	}, nil
}

// merge adds what compiling found and loading, which knows the file, did not.
func merge(loaded, compiled []policy.Diagnostic) []policy.Diagnostic {
	type remark struct {
		policy, message string
		code            policy.Code
	}
	seen := map[remark]bool{}
	for _, d := range loaded {
		seen[remark{d.Policy, d.Message, d.Code}] = true
	}
	for _, d := range compiled {
		if !seen[remark{d.Policy, d.Message, d.Code}] {
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
