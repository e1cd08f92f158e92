package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// saveEvery is how often the state is compared with the file.
const saveEvery = 2 * time.Second

// keeper keeps the state of the server in a file.
type keeper struct {
	srv   *entratest.Server
	path  string
	logf  func(format string, args ...any)
	last  []byte
	stop  chan struct{}
	ended chan struct{}
}

func keep(srv *entratest.Server, path string, logf func(string, ...any)) *keeper {
	k := &keeper{srv: srv, path: path, logf: logf, stop: make(chan struct{}), ended: make(chan struct{})}
	go k.run()
	return k
}

func (k *keeper) run() {
	defer close(k.ended)
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-k.stop:
			return
		case <-tick.C:
			if err := k.save(); err != nil {
				k.logf("%v", err)
			}
		}
	}
}

// close saves once more.
func (k *keeper) close() error {
	close(k.stop)
	<-k.ended
	return k.save()
}

func (k *keeper) save() error {
	state, err := k.srv.State()
	if err != nil {
		return err
	}
	if bytes.Equal(state, k.last) {
		return nil
	}
	if err := writeFile(k.path, state); err != nil {
		return fmt.Errorf("save the state: %w", err)
	}
	k.last = state
	return nil
}

// writeFile replaces a file as a whole, so that a crash leaves the old state or
// the new one. Only the owner may read it: it holds the tenant's keys.
func writeFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone after the rename
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	_ = d.Sync() // not every file system can
	return nil
}

// shellQuote quotes a value for a POSIX shell when it needs it.
func shellQuote(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/:._-,") == "" && s != "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
