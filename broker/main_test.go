package broker_test

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getenv(renewerEnv) != "" {
		renewer()
		return
	}
	code := m.Run()
	removePool()
	os.Exit(code)
}
