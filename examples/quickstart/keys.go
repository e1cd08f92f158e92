package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// A machine is what holds the keys of a computer.
type machine struct {
	keys  tpm.KeyStore
	info  tpm.Info
	close func() error
}

// chooseTPM resolves "auto" to what this computer has: a software TPM if swtpm
// is installed, or else software keys, with a warning.
func chooseTPM(kind string, out io.Writer) string {
	if kind != "auto" {
		return kind
	}
	if _, err := exec.LookPath("swtpm"); err == nil {
		return "swtpm"
	}
	fmt.Fprint(out, softwareWarning)
	return "software"
}

const softwareWarning = `
  *** SOFTWARE KEYS: no software TPM is installed (apt-get install swtpm). ***
  *** Anyone who copies this state and its key file has the device's keys. ***

`

// openMachine opens the keys of one computer, whose state is in dir. A recording, if
// there is one, sees the commands of its TPM.
func openMachine(ctx context.Context, kind, dir string, rec *recording) (*machine, error) {
	keys, stop, err := openKeys(ctx, kind, dir, rec)
	if err != nil {
		return nil, err
	}
	m := &machine{keys: keys, close: func() error { return errors.Join(keys.Close(), stop()) }}
	if m.info, err = keys.Info(ctx); err != nil {
		return nil, errors.Join(err, m.close())
	}
	return m, nil
}

func openKeys(ctx context.Context, kind, dir string, rec *recording) (tpm.KeyStore, func() error, error) {
	nothing := func() error { return nil }
	switch kind {
	case "swtpm":
		sw, err := tpmtest.StartSwtpm(ctx, dir)
		if err != nil {
			return nil, nil, err
		}
		return openEmulator(ctx, sw, rec)
	case "simulator":
		sim, err := tpmtest.StartSimulator()
		if err != nil {
			return nil, nil, err
		}
		return openEmulator(ctx, sim, rec)
	case "device":
		store, err := tpm.Open(ctx, rec.tpm(tpm.Default()), tpm.Config{})
		return store, nothing, err
	case "software":
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, nil, err
		}
		store, err := softkeys.Open(softkeys.File(filepath.Join(dir, "master.key")))
		return store, nothing, err
	}
	return nil, nil, fmt.Errorf("-tpm %s: want auto, swtpm, simulator, device or software", kind)
}

func openEmulator(ctx context.Context, e *tpmtest.Emulator, rec *recording) (tpm.KeyStore, func() error, error) {
	// The wrong PIN of an earlier run still counts, and so does a run that was
	// killed; a few more would lock the TPM for a quarter of an hour.
	err := e.ResetLockout()
	if err != nil {
		return nil, nil, errors.Join(err, e.Close())
	}
	store, err := tpm.Open(ctx, rec.tpm(e.Opener()), tpm.Config{})
	if err != nil {
		return nil, nil, errors.Join(err, e.Close())
	}
	return store, e.Close, nil
}

// describe says in a few words what holds the keys.
func (m *machine) describe() string {
	if !m.info.Hardware {
		return "software keys, no TPM"
	}
	return fmt.Sprintf("TPM 2.0, manufacturer %s, %s, firmware %s", m.info.Manufacturer, m.info.Model, m.info.Firmware)
}
