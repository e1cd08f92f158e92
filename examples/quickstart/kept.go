package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/prtbroker/prtbroker/internal/atomicfile"
)

// tenantFile keeps the emulated tenant beside the state of its device: a device
// is of no use in a tenant that does not know it.
const tenantFile = "tenant.json"

// kept is the emulated tenant and the time that its clock shows.
type kept struct {
	Now    time.Time       `json:"now"`
	Tenant json.RawMessage `json:"tenant"`
}

// readTenant returns the tenant that an earlier run kept in dir, or the zero
// value if there was no earlier run.
func readTenant(dir string) (k kept, err error) {
	file := filepath.Join(dir, tenantFile)
	text, err := os.ReadFile(file)
	if err == nil {
		if err := json.Unmarshal(text, &k); err != nil || k.Tenant == nil {
			return k, fmt.Errorf("-state: %s is damaged: delete %s to start over", file, dir)
		}
		return k, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if held, err := holdsState(dir); err != nil || !held {
		return k, err
	}
	return k, fmt.Errorf("-state: %s holds the state of a real tenant; the emulated one needs a directory of its own", dir)
}

// refuseEmulated refuses to use the state of an emulated tenant with a real one.
func refuseEmulated(dir string) error {
	_, err := os.Stat(filepath.Join(dir, tenantFile))
	if err == nil {
		return fmt.Errorf("-state: %s holds the state of the emulated tenant; -tenant needs a directory of its own", dir)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// holdsState reports whether a broker has stored anything in dir.
func holdsState(dir string) (bool, error) {
	all, err := os.ReadDir(filepath.Join(dir, "state"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return len(all) > 0, err
}

// save keeps the tenant when -state keeps the device.
func (s *story) save() error {
	if s.o.state == "" {
		return nil
	}
	state, err := s.srv.State()
	if err != nil {
		return err
	}
	text, err := json.Marshal(kept{s.clock.Now(), state})
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(s.dir, tenantFile), text, 0o600)
}

// again undoes what an earlier run did after the registration, so that the story
// can be told once more with the same device.
func (s *story) again(ctx context.Context) error {
	accounts, err := s.b.Accounts(ctx)
	if err != nil {
		return err
	}
	for _, a := range accounts {
		if err := s.b.RemoveAccount(ctx, a); err != nil {
			return err
		}
	}
	for _, d := range s.srv.Devices() {
		if err := s.srv.EnableDevice(d.ID); err != nil {
			return err
		}
	}
	if err := s.srv.ResetPassword(username, password); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s keeps the device and the tenant of an earlier run. Alice is\nsigned out and has her first password again, so that the story can be told again.\n\n", s.dir)
	return err
}
