package fido

import (
	"encoding/hex"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// Report descriptors: that of the specification (CTAP 2.1, 11.2.8.2), which
// YubiKeys have too, and a mouse.
var (
	descriptorKey   = "06d0f1 0901 a101 0920 1500 26ff00 7508 9540 8102 0921 1500 26ff00 7508 9540 9102 c0"
	descriptorMouse = "0501 0902 a101 0901 a100 0509 1901 2903 1500 2501 9503 7501 8102 9501 7505 8103 0501 0930 0931 1581 257f 7508 9502 8106 c0 c0"
)

func descriptor(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

// Only security keys are found, by what anybody may read.
func TestFindKeys(t *testing.T) {
	t.Parallel()
	sys := fstest.MapFS{
		"hidraw0/device/report_descriptor": {Data: descriptor(t, descriptorMouse)},
		"hidraw0/device/uevent":            {Data: []byte("DRIVER=hid-generic\nHID_NAME=A mouse\n")},
		"hidraw1/device/report_descriptor": {Data: descriptor(t, descriptorKey)},
		"hidraw1/device/uevent":            {Data: []byte("DRIVER=hid-generic\nHID_ID=0003:00001050:00000407\nHID_NAME=Yubico YubiKey OTP+FIDO+CCID\nHID_PHYS=usb-0000:00:14.0-1/input1\n")},
		"hidraw2/device/report_descriptor": {Data: descriptor(t, strings.ReplaceAll(descriptorKey, "9540", "9508"))},
		"hidraw3/device/uevent":            {Data: []byte("HID_NAME=on its way out\n")},
		"hidraw4/device/report_descriptor": {Data: descriptor(t, descriptorKey)},
	}
	keys, err := findKeys(sys)
	require.NoError(t, err)
	require.Equal(t, []found{{"hidraw1", "Yubico YubiKey OTP+FIDO+CCID"}, {"hidraw4", ""}}, keys)
	keys, err = findKeys(fstest.MapFS{})
	require.NoError(t, err)
	require.Empty(t, keys)
}

// A name comes from the device, and moves no cursor.
func TestLabel(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"YubiKey 5":                 "YubiKey 5",
		"":                          "on USB",
		"\x1b[2J\r\n":               "[2J",
		"evil\x1b]0;x\x07\u202ekey": "evil]0;xkey",
		"\xff\xfe":                  "on USB",
		strings.Repeat("ä", 100):    strings.Repeat("ä", 64),
	} {
		require.Equal(t, want, label(in))
	}
}

// FuzzDescriptor: a descriptor is one of a key whatever follows it, and none is when
// it ends within an item.
func FuzzDescriptor(f *testing.F) {
	f.Add([]byte{})
	f.Add(descriptor(f, descriptorMouse))
	f.Fuzz(func(t *testing.T, b []byte) {
		key := descriptor(t, descriptorKey)
		isFIDO(b)
		whole := true
		for rest := b; len(rest) > 0 && whole; {
			_, _, rest, whole = nextItem(rest)
		}
		require.Equal(t, whole, isFIDO(append(key[:len(key):len(key)], b...)))
	})
}
