package broker_test

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// long says that tests of many cases go through all of them, as make test does:
// PRTBROKER_LONG=1. Plain go test takes a share, -short a smaller one.
func long() bool { return os.Getenv("PRTBROKER_LONG") == "1" }

// pause waits without a clock that jumps.
func pause(d time.Duration) { <-time.After(d) }

// everyPoint is the step by which the kill tests go through the points where a
// process can die.
func everyPoint() int {
	switch {
	case long():
		return 1
	case testing.Short():
		return 3
	}
	return 2
}

// children are what this binary does instead of testing when a test starts it as
// another process, by the environment variable that says so.
var children = map[string]func() error{renewerEnv: renew}

func TestMain(m *testing.M) {
	for env, child := range children {
		if os.Getenv(env) == "" {
			continue
		}
		if err := child(); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", env, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	removePool()
	os.Exit(code)
}
