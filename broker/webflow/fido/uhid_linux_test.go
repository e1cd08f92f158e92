package fido_test

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/webflow/fido"
	"github.com/prtbroker/prtbroker/broker/webflow/fido/fidotest"
)

// Events of /dev/uhid and their sizes (Linux, include/uapi/linux/uhid.h).
const (
	uhidOutput  = 6
	uhidCreate2 = 11
	uhidInput2  = 12

	uhidData    = 4096
	uhidEvent   = 4380
	busUSB      = 3
	uhidKeyName = "prtbroker virtual key"
)

// uhid makes the kernel show a key on USB. Where the kernel has no uhid, or keeps it
// to itself, the test did not run, whatever else is required: nothing that can be
// installed would help.
func uhid(t *testing.T, k *fidotest.Key) {
	t.Helper()
	f, err := os.OpenFile("/dev/uhid", os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		t.Skipf("not run: this kernel shows no virtual HID devices to this user: %v", err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	descriptor, err := hex.DecodeString("06d0f10901a1010920150026ff007508954081020921150026ff00750895409102c0")
	require.NoError(t, err)
	create := binary.NativeEndian.AppendUint32(nil, uhidCreate2)
	create = append(create, make([]byte, 128+64+64)...)
	copy(create[4:], uhidKeyName)
	create = binary.NativeEndian.AppendUint16(create, uint16(len(descriptor)))
	create = binary.NativeEndian.AppendUint16(create, busUSB)
	for _, n := range []uint32{0x1209, 0x0001, 1, 0} { // vendor, product, version, country
		create = binary.NativeEndian.AppendUint32(create, n)
	}
	_, err = f.Write(append(create, descriptor...))
	require.NoError(t, err)

	device, err := k.Device().Open(t.Context())
	require.NoError(t, err)
	go toKernel(f, device)
	go fromKernel(f, device)
}

// toKernel hands on what the key sends.
func toKernel(f *os.File, device io.Reader) {
	for {
		var r [64]byte
		if _, err := device.Read(r[:]); err != nil {
			return
		}
		event := binary.NativeEndian.AppendUint32(nil, uhidInput2)
		event = binary.NativeEndian.AppendUint16(event, uint16(len(r)))
		if _, err := f.Write(append(event, r[:]...)); err != nil {
			return
		}
	}
}

// fromKernel hands on what the program writes, without the number of the report.
func fromKernel(f *os.File, device io.Writer) {
	event := make([]byte, uhidEvent)
	for {
		n, err := f.Read(event)
		if err != nil {
			return
		}
		if n < 4+uhidData+2 || binary.NativeEndian.Uint32(event) != uhidOutput {
			continue
		}
		size := binary.NativeEndian.Uint16(event[4+uhidData:])
		if size != 65 {
			continue
		}
		if _, err := device.Write(event[5 : 5+64]); err != nil {
			return
		}
	}
}

// A key that the kernel shows is found and signs.
func TestUHID(t *testing.T) {
	k := fidotest.New(fidotest.Options{PIN: pin})
	own := credential(t, "own", "kim@contoso.example")
	k.Add(own)
	uhid(t, k)
	ours := func(d fido.Device) bool { return strings.Contains(d.Name, uhidKeyName) }
	require.Eventually(t, func() bool {
		devices, err := fido.USB(t.Context())
		return err == nil && slices.ContainsFunc(devices, ours)
	}, time.Minute, 50*time.Millisecond)
	only := func(ctx context.Context) ([]fido.Device, error) {
		devices, err := fido.USB(ctx)
		return slices.DeleteFunc(devices, func(d fido.Device) bool { return !ours(d) }), err
	}
	a, err := (&fido.Key{Prompter: &user{pins: []string{pin}}, Devices: only}).Assert(t.Context(), request("own"))
	require.NoError(t, err)
	verify(t, request("own"), own, a)
}

// What the operating system says is found without an error, whatever is plugged in.
func TestUSB(t *testing.T) {
	_, err := fido.USB(t.Context())
	require.NoError(t, err)
}
