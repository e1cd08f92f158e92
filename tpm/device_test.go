//go:build !windows

package tpm_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"net"
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

// The raw device is opened only where there is no resource manager: one that cannot be
// reached still serves the rest of the machine.
func TestDeviceOf(t *testing.T) {
	dir := t.TempDir()
	there, other, notThere := filepath.Join(dir, "file"), filepath.Join(dir, "another"), filepath.Join(dir, "none")
	for _, f := range []string{there, other} {
		require.NoError(t, os.WriteFile(f, nil, 0o600))
	}
	loop := filepath.Join(dir, "loop")
	require.NoError(t, os.Symlink(loop, loop))
	for name, tt := range map[string]struct {
		managed, raw string
		spaces       int
		opens        string
	}{
		"both":                      {there, other, 2, there},
		"managed alone":             {there, notThere, 2, there},
		"raw alone":                 {notThere, other, 1, other},
		"neither":                   {notThere, filepath.Join(dir, "nor this"), 2, notThere},
		"managed one out of reach":  {loop, other, 2, loop},
		"managed, raw out of reach": {there, loop, 2, there},
		"nothing, raw out of reach": {notThere, loop, 2, notThere},
	} {
		o := tpm.DeviceOf(tt.managed, tt.raw)
		require.Equal(t, tt.spaces, o.Spaces, name)
		require.Equal(t, tt.spaces == 1, o.Exclusive, name)
		_, err := o.Open(t.Context())
		var failed *fs.PathError
		require.ErrorAs(t, err, &failed, name)
		require.Equal(t, tt.opens, failed.Path, name)
	}
}

// A character device is opened, whatever it says, and what it says last is the error.
func TestDeviceSend(t *testing.T) {
	for device, want := range map[string]error{"/dev/null": io.EOF, "/dev/full": syscall.ENOSPC} {
		if _, err := os.Stat(device); err != nil && device != "/dev/null" {
			continue // Linux and FreeBSD have it
		}
		c, err := tpm.DeviceFile(device, 1).Open(t.Context())
		require.NoError(t, err, device)
		rsp, err := c.Send(make([]byte, 10))
		require.ErrorIs(t, err, want, device)
		require.Empty(t, rsp, device)
		require.NoError(t, c.Close())
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

// A response over a network says how long it is: no longer than a TPM makes them, and
// no shorter than its header.
func TestStreamSizes(t *testing.T) {
	const longest = 4096
	for size, fits := range map[uint32]bool{
		0: false, 9: false, 10: true, 11: true, longest: true, longest + 1: false, 0xffffffff: false,
	} {
		listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
		require.NoError(t, err)
		go func() {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = io.ReadFull(conn, make([]byte, 10))
			rsp := binary.BigEndian.AppendUint32([]byte{0x80, 0x01}, size)
			_, _ = conn.Write(append(rsp, make([]byte, 2*longest)...))
		}()
		c, err := tpm.Stream("unix", listener.Addr().String()).Open(t.Context())
		require.NoError(t, err)
		rsp, err := c.Send(make([]byte, 10))
		if fits {
			require.NoError(t, err, size)
			require.Len(t, rsp, int(size))
		} else {
			require.EqualError(t, err, fmt.Sprintf("response of %d bytes", size))
		}
		require.NoError(t, c.Close())
		require.NoError(t, listener.Close())
	}
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
