package interop

import (
	"os"
	"os/exec"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

const authdClient = "authd (its own tests)"

// The tests of Canonical's authd for its provider for Entra ID, with examples/authd
// in the place of libhimmelblau. Its source comes from the directory that
// PRTBROKER_AUTHD names: no Go proxy has it, since its modules are not tagged.
func TestAuthd(t *testing.T) {
	checkout := os.Getenv("PRTBROKER_AUTHD")
	if checkout == "" {
		const why = "PRTBROKER_AUTHD does not name a checkout of canonical/authd"
		results.notRun(authdClient, why)
		t.Skip(authdClient + ": not run: " + why)
	}
	flow(t, authdClient, "provider and broker with examples/authd", func(t *testing.T) string {
		out, err := exec.CommandContext(t.Context(), "../../scripts/authd", checkout).CombinedOutput()
		require.NoError(t, err, string(out))
		ran := regexp.MustCompile(`(\d+ passed), 0 failed`).FindSubmatch(out)
		require.NotNil(t, ran, string(out))
		return string(ran[1])
	})
}
