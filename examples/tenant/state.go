package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/internal/atomicfile"
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
	if err := atomicfile.Write(k.path, state, 0o600); err != nil {
		return fmt.Errorf("save the state: %w", err)
	}
	k.last = state
	return nil
}

// shellQuote quotes a value for a POSIX shell when it needs it.
func shellQuote(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/:._-,") == "" && s != "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
