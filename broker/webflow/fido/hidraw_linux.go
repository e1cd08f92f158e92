package fido

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/prtbroker/prtbroker/broker/webflow/fido/internal/ctaphid"
)

// USB returns the security keys that are plugged in.
func USB(context.Context) ([]Device, error) {
	keys, err := findKeys(os.DirFS("/sys/class/hidraw"))
	if err != nil {
		return nil, fmt.Errorf("fido: %w", err)
	}
	var devices []Device
	for _, k := range keys {
		path := "/dev/" + k.node
		devices = append(devices, Device{Name: k.name, Open: func(context.Context) (io.ReadWriteCloser, error) { return openHIDRaw(path) }})
	}
	return devices, nil
}

// openHIDRaw opens a device so that its reads end when it is closed.
func openHIDRaw(path string) (io.ReadWriteCloser, error) {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("fido: no permission to open %s: install the udev rules for security keys, or run as root: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("fido: %w", err)
	}
	return hidRaw{f}, nil
}

// hidRaw is a device without numbered reports, for which a zero byte precedes
// what is written (Linux, Documentation/hid/hidraw.rst).
type hidRaw struct{ *os.File }

func (h hidRaw) Write(report []byte) (int, error) {
	n, err := h.File.Write(append(make([]byte, 1, 1+ctaphid.ReportSize), report...))
	return max(n-1, 0), err
}
