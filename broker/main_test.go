package broker_test

import (
	"os"
	"testing"
)

// long says that tests of many cases go through all of them, as make test does:
// PRTBROKER_LONG=1. Plain go test takes a share, -short a smaller one.
func long() bool { return os.Getenv("PRTBROKER_LONG") == "1" }

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

func TestMain(m *testing.M) {
	if os.Getenv(renewerEnv) != "" {
		renewer()
		return
	}
	code := m.Run()
	removePool()
	os.Exit(code)
}
