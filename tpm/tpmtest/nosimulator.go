//go:build !tpmsimulator

package tpmtest

import (
	"errors"
	"testing"
)

// Simulator runs the Microsoft reference TPM within the test, which needs cgo
// and the build tag tpmsimulator; without them the test is skipped, or fails
// when PRTBROKER_REQUIRE_TPM=1. A process has one simulator: another test
// that starts it waits until this one ends.
func Simulator(t testing.TB) *Emulator {
	t.Helper()
	t.Skip("tpmtest: the TPM simulator needs -tags tpmsimulator")
	return nil
}

// StartSimulator runs the Microsoft reference TPM within the process, in a
// build with the tag tpmsimulator; in others it is an error.
func StartSimulator() (*Emulator, error) {
	return nil, errors.New("tpmtest: the TPM simulator needs a build with -tags tpmsimulator, gcc and libssl-dev")
}
