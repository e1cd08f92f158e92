// Mutants changes one operator, or removes one check, at a time in the packages that
// guard people's sign-in, and runs tests after each change. A change that no test
// notices is a survivor: a check that could be removed, or one that makes no
// difference. Each survivor has its reason in equivalent.txt; the program fails on a
// survivor without a reason, and on a reason whose code is gone.
//
//	go run ./internal/mutants                      all packages of both lists
//	go run ./internal/mutants ./prt ./broker/dbus  these by gremlins, on the list or not
//	go run ./internal/mutants -quick ./tpm         these with all changes in one binary
//
// It works in two ways. Gremlins, which nobody here wrote, changes operators, compiles
// the package for each and runs all tests of the package: about a second a change.
// Changes of it that do not compile are not counted: it also turns the + between
// strings into a -. With -quick, all changes are compiled into one binary and only the
// tests that reach a change are run: ten times as fast, so that large packages have
// their turn too. It makes the same changes and one more, an if whose condition is
// never true. Left alone there: constants, calculations of named types, and an if that
// only returns the error it was given.
//
// A whole run takes long. With -again, only the changes are made that an earlier run
// wanted work for, which is what to look at after writing tests.
//
// On a busy machine tests run into the time limit, which comes from the first run: such
// changes count as noticed, so that -patience should be large there.
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// packages are those whose survivors of gremlins all have a reason.
var packages = []string{
	"./claims", // and verify
	"./tpm/internal/envelope",
	"./broker/internal/flight",
	"./broker/internal/remember",
	"./broker/internal/tokencache",
	"./broker/internal/vault",
	"./broker/dbus/internal/wire",
	"./broker/entratest/internal/seal",
	"./broker/entratest/internal/totp",
	"./broker/entratest/internal/verify",
}

//go:embed equivalent.txt
var equivalent string

func main() {
	log.SetFlags(0)
	patience := flag.Int("patience", 10, "how many times as long as the first run a changed one may take")
	one := flag.Bool("quick", false, "compile all changes into one binary and run only the tests that reach one")
	judges := flag.String("judges", "", "with -quick: the packages whose tests judge, separated by commas, or package=pattern for some of their tests; default those that are changed")
	most := flag.Duration("most", time.Minute, "with -quick: how long the tests for one change may take without it")
	again := flag.String("again", "", "with -quick: a file with what an earlier run printed; only the changes that it wanted work for are made")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	reasons, err := parseReasons(equivalent)
	if err != nil {
		log.Fatal("mutants: ", err)
	}
	var only map[survivor]bool
	if *again != "" {
		text, err := os.ReadFile(*again)
		if err != nil {
			log.Fatal("mutants: ", err)
		}
		only = printed(string(text))
	}
	byGremlins, quickly := packages, groups
	switch {
	case *one:
		byGremlins, quickly = nil, []group{{flag.Args(), strings.FieldsFunc(*judges, func(r rune) bool { return r == ',' })}}
	case flag.NArg() > 0:
		byGremlins, quickly = flag.Args(), nil
	}
	unexplained, err := run(ctx, os.Stdout, byGremlins, reasons, *patience)
	for _, g := range quickly {
		if err == nil {
			var more int
			more, err = quick(ctx, os.Stdout, g, reasons, limits{*patience, 10 * time.Second, *most}, only)
			unexplained += more
		}
	}
	if err != nil {
		log.Fatal("mutants: ", err)
	}
	if unexplained > 0 {
		log.Fatalf("mutants: %d unexplained: write a test, or the reason in internal/mutants/equivalent.txt", unexplained)
	}
}

// run changes the packages, one after the other, and prints what was noticed.
func run(ctx context.Context, out io.Writer, chosen []string, reasons []reason, patience int) (unexplained int, err error) {
	if len(chosen) == 0 {
		return 0, nil
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "package\tnoticed\tby the time limit\texplained\tunexplained\tnot reached by the package's tests")
	for _, pkg := range chosen {
		r, err := gremlins(ctx, pkg, patience)
		if err != nil {
			return unexplained, fmt.Errorf("%s: %w", pkg, err)
		}
		if err := r.discount(ctx, pkg); err != nil {
			return unexplained, fmt.Errorf("%s: %w", pkg, err)
		}
		found, err := survivors(filepath.Clean(pkg), r)
		if err != nil {
			return unexplained, fmt.Errorf("%s: %w", pkg, err)
		}
		late, err := named(filepath.Clean(pkg), r, "TIMED OUT")
		if err != nil {
			return unexplained, fmt.Errorf("%s: %w", pkg, err)
		}
		alive, stale := compare(filepath.Clean(pkg), found, late, reasons)
		for _, s := range alive {
			fmt.Fprintf(out, "nobody noticed:\n%s\n", s)
		}
		for _, s := range stale {
			fmt.Fprintf(out, "has a reason and did not survive:\n%s\n", s)
		}
		n := r.count()
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\n", filepath.Clean(pkg), n["KILLED"], n["TIMED OUT"], len(found)-len(alive), len(alive), n["NOT COVERED"])
		unexplained += len(alive) + len(stale)
	}
	return unexplained, table.Flush()
}

// gremlins runs the tool in the root of the module and reads its report.
func gremlins(ctx context.Context, pkg string, patience int) (*report, error) {
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "report.json")
	cmd := exec.CommandContext(ctx, "go", "tool", "-modfile="+filepath.Join("tools", "go.mod"), "gremlins", "unleash", "--silent",
		"--invert-logical", "--timeout-coefficient", strconv.Itoa(patience), "--output", file, "./"+filepath.ToSlash(filepath.Clean(pkg)))
	// Tests shall notice, not go vet, which go test runs too; and what nobody debugs
	// links faster.
	cmd.Env = append(os.Environ(), "GOFLAGS="+os.Getenv("GOFLAGS")+" -vet=off -ldflags=-w")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	return readReport(file)
}
