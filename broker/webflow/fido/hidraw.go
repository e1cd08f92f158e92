package fido

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"strings"

	"github.com/prtbroker/prtbroker/broker/webflow/fido/internal/ctaphid"
)

// A found is a hidraw device that is a security key.
type found struct{ node, name string }

// findKeys searches /sys/class/hidraw, which everybody may read, so that only
// security keys are opened.
func findKeys(sys fs.FS) (keys []found, err error) {
	entries, err := fs.ReadDir(sys, ".")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // this computer has no HID devices
	}
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		descriptor, err := fs.ReadFile(sys, e.Name()+"/device/report_descriptor")
		if err != nil || !isFIDO(descriptor) {
			continue // unplugged meanwhile, or another device
		}
		uevent, _ := fs.ReadFile(sys, e.Name()+"/device/uevent")
		keys = append(keys, found{e.Name(), hidName(uevent)})
	}
	return keys, nil
}

// hidName reads the device's name out of its uevent.
func hidName(uevent []byte) string {
	for line := range strings.Lines(string(uevent)) {
		if name, ok := strings.CutPrefix(line, "HID_NAME="); ok {
			return strings.TrimSpace(name)
		}
	}
	return ""
}

// The short items of a report descriptor, without their size (HID 1.11, 6.2.2.2),
// and the usage of security keys (CTAP 2.1, 11.2.8.1).
const (
	itemInput       = 0x80
	itemOutput      = 0x90
	itemUsagePage   = 0x04
	itemUsage       = 0x08
	itemReportSize  = 0x74
	itemReportCount = 0x94
	itemLong        = 0xfe

	pageFIDO  = 0xf1d0
	usageFIDO = 0x01
)

// isFIDO reports whether a report descriptor begins as that of a security key, with
// reports of the size that CTAPHID has on USB.
func isFIDO(descriptor []byte) bool {
	var page, usage, size, count uint32
	var in, out bool
	for len(descriptor) > 0 {
		item, value, rest, ok := nextItem(descriptor)
		if !ok {
			return false
		}
		descriptor = rest
		switch item {
		case itemUsagePage:
			if page == 0 {
				page = value
			}
		case itemUsage:
			if usage == 0 {
				usage = value
			}
		case itemReportSize:
			size = value
		case itemReportCount:
			count = value
		case itemInput:
			in = in || size == 8 && count == ctaphid.ReportSize
		case itemOutput:
			out = out || size == 8 && count == ctaphid.ReportSize
		}
	}
	return page == pageFIDO && usage == usageFIDO && in && out
}

// nextItem reads an item (HID 1.11, 6.2.2).
func nextItem(b []byte) (item byte, value uint32, rest []byte, ok bool) {
	if b[0] == itemLong {
		if len(b) < 3 || len(b) < 3+int(b[1]) {
			return 0, 0, nil, false
		}
		return itemLong, 0, b[3+int(b[1]):], true
	}
	n := int(b[0] & 3)
	if n == 3 {
		n = 4
	}
	if len(b) < 1+n {
		return 0, 0, nil, false
	}
	var data [4]byte
	copy(data[:], b[1:1+n])
	return b[0] &^ 3, binary.LittleEndian.Uint32(data[:]), b[1+n:], true
}
