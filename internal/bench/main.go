// Bench runs the project's benchmarks and writes what they say: BENCHMARKS.md,
// the charts in docs/bench, and the table in README.md between its two marks.
//
//	go run ./internal/bench                  all sections
//	go run ./internal/bench -only silent     one, or several with commas
//	go run ./internal/bench -count 6         each benchmark six times; the median is shown
//	go run ./internal/bench -render          no benchmark: the pages from the results that are kept
//
// Each section's output is kept in internal/bench/results as go test printed it,
// with the machine, the date and the command, for benchstat; after a run the
// previous results are shown next to the new ones.
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
)

func main() {
	log.SetFlags(0)
	only := flag.String("only", "", "the sections to run, with commas between; empty: all")
	count := flag.Int("count", 1, "how many times to run each benchmark")
	render := flag.Bool("render", false, "run nothing")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := bench(ctx, *only, *count, *render); err != nil {
		log.Fatal("bench: ", err)
	}
}

func bench(ctx context.Context, only string, count int, render bool) error {
	chosen, err := choose(only)
	if err != nil {
		return err
	}
	if render {
		chosen = nil
	}
	for _, s := range chosen {
		if err := s.run(ctx, ".", count); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	pages, err := renderAll(".")
	if err != nil {
		return err
	}
	return pages.write(".")
}

// choose returns the sections with these names.
func choose(names string) ([]section, error) {
	if names == "" {
		return sections, nil
	}
	var chosen []section
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(sections, func(s section) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no section %q; there are %s", name, sectionNames())
		}
		chosen = append(chosen, sections[i])
	}
	return chosen, nil
}

func sectionNames() string {
	var names []string
	for _, s := range sections {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}
