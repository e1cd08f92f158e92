// Proof runs the long forms of the tests that show that nothing is lost, leaked
// or left hanging: each call with each fault, each place where a process can be
// killed, and so on. Each class of tests has a time budget. Proof prints one table
// and keeps the results, from which it writes docs/proof.md and the tables in
// README.md and SECURITY.md between their two marks.
//
//	go run ./internal/proof                          all classes, each with its own budget
//	go run ./internal/proof -only faults -budget 2m  one, or several with commas
//	go run ./internal/proof -render                  no tests: writes the pages from the kept results
//
// The tests are ordinary ones that every go test runs in a short form.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	log.SetFlags(0)
	only := flag.String("only", "", "the classes to run, with commas between; empty: all")
	budget := flag.Duration("budget", 0, "how long each class may take; 0: its own")
	render := flag.Bool("render", false, "run nothing")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := prove(ctx, *only, *budget, *render); err != nil {
		log.Fatal("proof: ", err)
	}
}

// prove runs the classes. When one fails, its previous result is kept, and the others
// are run all the same.
func prove(ctx context.Context, only string, budget time.Duration, render bool) error {
	chosen, err := choose(only)
	if err != nil {
		return err
	}
	if render {
		chosen = nil
	}
	var ran []result
	var failed []string
	for _, p := range chosen {
		r, err := p.run(ctx, ".", budget)
		if err == nil {
			err = r.keep(".")
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "proof: %s: %v\n", p.class, err)
			failed = append(failed, p.class)
		}
		ran = append(ran, r)
	}
	if err := printTable(ran); err != nil {
		return err
	}
	pages, err := renderAll(".")
	if err != nil {
		return err
	}
	if err := pages.write("."); err != nil {
		return err
	}
	if len(failed) > 0 {
		return fmt.Errorf("failed: %s", strings.Join(failed, ", "))
	}
	return nil
}

func printTable(ran []result) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "class\ta cell is\tcells\tpassed\ttook")
	for _, r := range ran {
		for _, l := range r.lines {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", l.Class, l.Cell, l.Cells, l.Passed, took(l.Seconds))
		}
	}
	return w.Flush()
}

// choose returns the parts of these classes.
func choose(names string) ([]part, error) {
	if names == "" {
		return parts, nil
	}
	var chosen []part
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(parts, func(p part) bool { return p.class == name })
		if i < 0 {
			return nil, fmt.Errorf("no class %q; there are %s", name, classes())
		}
		chosen = append(chosen, parts[i])
	}
	return chosen, nil
}

func classes() string {
	var names []string
	for _, p := range parts {
		names = append(names, p.class)
	}
	return strings.Join(names, ", ")
}
