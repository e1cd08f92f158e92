//go:build !windows

package tpm

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"

	"github.com/google/go-tpm/tpm2/transport"
)

const (
	managedDevice = "/dev/tpmrm0" // the kernel's resource manager
	rawDevice     = "/dev/tpm0"   // one process at a time
)

// Default opens the machine's TPM: /dev/tpmrm0, or /dev/tpm0 where the kernel
// has no resource manager.
func Default() Opener { return deviceOf(managedDevice, rawDevice) }

func deviceOf(managed, raw string) Opener {
	if _, err := os.Stat(managed); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(raw); err == nil {
			return DeviceFile(raw, 1)
		}
	}
	return DeviceFile(managed, 2)
}

// DeviceFile opens a TPM by its device file. Spaces is 2 for a device of the
// resource manager and 1 for another.
func DeviceFile(path string, spaces int) Opener {
	return Opener{
		Spaces:    spaces,
		Exclusive: spaces < 2,
		Open: func(context.Context) (transport.TPMCloser, error) {
			// A blocking descriptor: the driver then runs the command within
			// write, and read has the response. Go's poller would see the end
			// of a file when it reads too early.
			fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
			if err != nil {
				return nil, &fs.PathError{Op: "open", Path: path, Err: err}
			}
			f := os.NewFile(uintptr(fd), path)
			if fi, err := f.Stat(); err != nil || fi.Mode()&fs.ModeCharDevice == 0 {
				_ = f.Close()
				return nil, &fs.PathError{Op: "open", Path: path, Err: errors.New("not a character device")}
			}
			return device{f}, nil
		},
	}
}

type device struct{ *os.File }

func (d device) Send(cmd []byte) ([]byte, error) {
	if _, err := d.Write(cmd); err != nil {
		return nil, err
	}
	rsp := make([]byte, maxResponse)
	n, err := d.Read(rsp)
	return rsp[:n], err
}
