//go:build !windows

package tpm_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// The resource manager's device gives each descriptor slots of its own; the
// raw one is exclusive.
func TestDeviceSpaces(t *testing.T) {
	require.Equal(t, 2, tpm.DeviceFile("/dev/tpmrm0", 2).Spaces)
	require.False(t, tpm.DeviceFile("/dev/tpmrm0", 2).Exclusive)
	require.Equal(t, 1, tpm.DeviceFile("/dev/tpm0", 1).Spaces)
	require.True(t, tpm.DeviceFile("/dev/tpm0", 1).Exclusive)
	if _, err := os.Stat("/dev/tpm0"); err != nil {
		_, err := tpm.Open(t.Context(), tpm.Default(), tpm.Config{})
		require.ErrorIs(t, err, tpm.ErrNoTPM)
		require.ErrorContains(t, err, "/dev/tpmrm0")
		require.ErrorContains(t, err, "tss")
	}
}

func TestDeviceThatIsNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tpmrm0")
	_, err := tpm.Open(t.Context(), tpm.DeviceFile(file, 2), tpm.Config{})
	require.ErrorIs(t, err, tpm.ErrNoTPM)
	require.ErrorIs(t, err, syscall.ENOENT)

	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = tpm.Open(t.Context(), tpm.DeviceFile(file, 2), tpm.Config{})
	require.ErrorIs(t, err, tpm.ErrNoTPM)
	require.ErrorContains(t, err, "not a character device")

	_, err = tpm.Open(t.Context(), tpm.DeviceFile("/dev/null", 2), tpm.Config{})
	require.ErrorIs(t, err, tpm.ErrNoTPM, "a device that says nothing")
	_, err = tpm.Open(t.Context(), tpm.Swtpm(file), tpm.Config{})
	require.ErrorIs(t, err, tpm.ErrNoTPM)
}

// swtpm takes a state directory that does not exist, and a relative one.
func TestStartSwtpm(t *testing.T) {
	tpmtest.Swtpm(t) // skips where there is none
	t.Chdir(t.TempDir())
	e, err := tpmtest.StartSwtpm(t.Context(), "a/state")
	require.NoError(t, err)
	defer e.Close()
	raw(t, e.Opener(), func(c transport.TPM) {
		_, err := tpm2.GetRandom{BytesRequested: 8}.Execute(c)
		require.NoError(t, err, "it is not in failure mode")
	})
	s := open(t, e.Opener(), tpm.Config{})
	newMaterial(t, s).all(t)
	_, err = tpmtest.StartSwtpm(t.Context(), "a,b")
	require.ErrorContains(t, err, "comma")
}
