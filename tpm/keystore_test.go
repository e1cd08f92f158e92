package tpm_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// emulators are the software TPMs that every test runs on.
var emulators = []struct {
	name  string
	start func(testing.TB) *tpmtest.Emulator
}{
	{"swtpm", tpms.Swtpm},
	{"simulator", tpmtest.Simulator},
}

// onEmulators runs a test on each software TPM.
func onEmulators(t *testing.T, run func(t *testing.T, e *tpmtest.Emulator)) {
	t.Helper()
	for _, e := range emulators {
		t.Run(e.name, func(t *testing.T) { run(t, e.start(t)) })
	}
}

// open opens a store that the test closes.
func open(t testing.TB, o tpm.Opener, cfg tpm.Config) *tpm.TPM {
	t.Helper()
	s, err := tpm.Open(t.Context(), o, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestKeyStore(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		tpmtest.RunKeyStore(t, func(t testing.TB) tpm.KeyStore {
			s, err := tpm.Open(t.Context(), e.Opener(), tpm.Config{})
			require.NoError(t, err)
			return s
		})
	})
}
