package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/internal/recorder"
	"github.com/prtbroker/prtbroker/tpm"
)

// A recording is a run that is written to a directory without names or secrets. A
// nil one records nothing.
type recording struct{ *recorder.Recorder }

// record begins the recording that -record asks for, and hides what is known of this
// machine and the tenant beforehand.
func record(dir, tenant string) (*recording, error) {
	if dir == "" {
		return nil, nil
	}
	rec, err := recorder.New(dir)
	if err != nil {
		return nil, err
	}
	host, _ := os.Hostname() // empty: nothing to hide
	rec.Hide(tenant, host)
	return &recording{rec}, nil
}

// transport records what goes through next, or through Go's transport if next is nil.
// Without a recording, nil stays nil: the broker's own transport.
func (r *recording) transport(next http.RoundTripper) broker.Transport {
	switch {
	case next == nil && r == nil:
		return nil
	case next == nil:
		next = http.DefaultTransport
	}
	if r != nil {
		next = r.RoundTripper(next)
	}
	return &http.Client{Transport: next, Timeout: time.Minute}
}

// tpm records the commands of a TPM.
func (r *recording) tpm(o tpm.Opener) tpm.Opener {
	if r == nil {
		return o
	}
	return r.TPM(o)
}

// step notes how a step ended, and returns the error.
func (r *recording) step(name string, err error) error {
	if r != nil {
		r.Step(name, outcome(err))
	}
	return err
}

func (r *recording) close(dir string, out io.Writer) error {
	if r == nil {
		return nil
	}
	if err := r.Close(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\nThe run is in %s. Read it before you send it to anybody.\n", filepath.Clean(dir))
	return err
}

// outcomes are the errors by which a recorded run and its replay are compared.
var outcomes = []struct {
	name string
	err  error
}{
	{"ErrInteractionRequired", broker.ErrInteractionRequired},
	{"ErrBlocked", broker.ErrBlocked},
	{"ErrDeviceNotRegistered", broker.ErrDeviceNotRegistered},
	{"ErrDeviceAuth", broker.ErrDeviceAuth},
	{"ErrBadCredential", broker.ErrBadCredential},
	{"ErrUserNotFound", broker.ErrUserNotFound},
	{"ErrAccountLocked", broker.ErrAccountLocked},
	{"ErrUserDisabled", broker.ErrUserDisabled},
	{"ErrAppConfig", broker.ErrAppConfig},
	{"ErrUserCanceled", broker.ErrUserCanceled},
	{"ErrTransient", broker.ErrTransient},
	{"ErrKeyUnusable", broker.ErrKeyUnusable},
	{"ErrStateDamaged", broker.ErrStateDamaged},
}

// outcome says how something ended, without the text of an error.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	words := []string{"failed"}
	for _, o := range outcomes {
		if errors.Is(err, o.err) {
			words = append(words, o.name)
		}
	}
	if e := new(broker.Error); errors.As(err, &e) && e.Code != 0 {
		words = append(words, fmt.Sprintf("AADSTS%d", e.Code))
	}
	return strings.Join(words, " ")
}
