// Fuzz runs every fuzz target of every module for a time and keeps a table: how often
// each was executed, how many inputs that reach new code were found, and whether one
// fails.
//
//	go run ./internal/fuzz -time 1h            each for an hour, as many side by side as there are processors
//	go run ./internal/fuzz -total 10m          all of them in about that time
//	go run ./internal/fuzz -time 20s -only prt those whose package and name match
//	go run ./internal/fuzz -time 1h -shard 3/13 every 13th target, from the third
//
// A run can be stopped and resumed: a target that had its time on this commit, without
// local changes, is not run again. The table is in fuzz.tsv. Go keeps the inputs that
// it finds: those that reach new code in its cache, and those that fail in testdata/fuzz
// of the package, where every go test runs them from then on.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/prtbroker/prtbroker/internal/proof/tally"
)

type options struct {
	each  time.Duration
	total time.Duration
	jobs  int
	only  string
	shard string
	table string
}

func main() {
	log.SetFlags(0)
	var o options
	flag.DurationVar(&o.each, "time", 10*time.Second, "how long each target is run")
	flag.DurationVar(&o.total, "total", 0, "how long all of them may take together; 0: as long as -time asks")
	flag.IntVar(&o.jobs, "jobs", runtime.NumCPU(), "how many run side by side")
	flag.StringVar(&o.only, "only", "", "a regular expression that package and target match, as in prt.FuzzParseReply")
	flag.StringVar(&o.shard, "shard", "", "`i/n`: every n-th target, from the i-th")
	flag.StringVar(&o.table, "table", "fuzz.tsv", "the `file` that remembers what was run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, ".", o); err != nil {
		log.Fatal("fuzz: ", err)
	}
}

func run(ctx context.Context, root string, o options) error {
	all, err := targets(ctx, root)
	if err != nil {
		return err
	}
	chosen, err := o.choose(all)
	if err != nil {
		return err
	}
	if o.total > 0 {
		o.each = max(time.Second, (o.total * time.Duration(o.jobs) / time.Duration(len(chosen))).Truncate(time.Second))
	}
	begin := time.Now()
	t, err := openTable(o.table, commit(ctx, root))
	if err != nil {
		return err
	}
	rows := make([]row, len(chosen))
	var workers sync.WaitGroup
	next := make(chan int)
	for range max(1, o.jobs) {
		workers.Go(func() {
			for i := range next {
				rows[i] = t.remember(ctx, chosen[i], o.each)
			}
		})
	}
	for i := range chosen {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	workers.Wait()
	if ctx.Err() != nil {
		return errors.New("stopped; start it again to go on")
	}
	return report(rows, time.Since(begin))
}

// report prints the table, and is an error if a target failed.
func report(rows []row, took time.Duration) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "target\ttime\texecutions\tnew inputs\tinputs\tresult")
	passed, executions := 0, 0
	var failed []string
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\n", r.target, r.time, r.executions, r.found, r.inputs, r.result)
		executions += r.executions
		if r.result == passes {
			passed++
		} else {
			failed = append(failed, r.target)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Printf("%d targets, %d executions\n", len(rows), executions)
	tally.Line{Class: "fuzzing", Cell: "a fuzz target that found nothing", Cells: len(rows), Passed: passed, Seconds: took.Seconds()}.Print()
	tally.Line{Class: "fuzzing", Cell: "an execution of one", Cells: executions, Passed: executions - len(failed), Seconds: took.Seconds()}.Print()
	if len(failed) > 0 {
		return fmt.Errorf("failed: %s", strings.Join(failed, ", "))
	}
	return nil
}

// choose applies -only and -shard.
func (o options) choose(all []target) ([]target, error) {
	pattern, err := regexp.Compile(o.only)
	if err != nil {
		return nil, err
	}
	i, n := 0, 1
	if o.shard != "" {
		first, count, ok := strings.Cut(o.shard, "/")
		var e1, e2 error
		i, e1 = strconv.Atoi(first)
		n, e2 = strconv.Atoi(count)
		if !ok || e1 != nil || e2 != nil || n < 1 || i < 0 || i >= n {
			return nil, fmt.Errorf("-shard %s: want i/n, with i from 0 to n-1", o.shard)
		}
	}
	var chosen []target
	k := 0
	for _, t := range all {
		if !pattern.MatchString(t.String()) {
			continue
		}
		if k%n == i {
			chosen = append(chosen, t)
		}
		k++
	}
	if len(chosen) == 0 {
		return nil, errors.New("there is no such target")
	}
	return chosen, nil
}
