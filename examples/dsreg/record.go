package main

import (
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/prtbroker/prtbroker/internal/recorder"
)

// recordTo begins a recording, unless dir is empty. What is known of this machine is
// hidden beforehand.
func (a *app) recordTo(dir string) (err error) {
	if dir == "" {
		return nil
	}
	if a.rec, err = recorder.New(dir); err != nil {
		return err
	}
	host, _ := os.Hostname() // empty: nothing to hide
	a.rec.Hide(host, a.flags.tenant, a.flags.account)
	return nil
}

// recorded is a client whose requests are recorded, if anything is.
func (a *app) recorded(c *http.Client) *http.Client {
	if a.rec == nil {
		return c
	}
	watched := *c
	if watched.Transport == nil {
		watched.Transport = http.DefaultTransport
	}
	watched.Transport = a.rec.RoundTripper(watched.Transport)
	return &watched
}

// keepRecord writes the recording: of the findings what was checked and how it is.
func (d *doctor) keepRecord() error {
	rec := d.app.rec
	if rec == nil {
		return nil
	}
	for _, f := range d.findings {
		check := f.Check
		if strings.HasPrefix(check, prtCheck) {
			check = "PRT" // of a person
		}
		rec.Step(check, string(f.Health))
	}
	if err := rec.Close(); err != nil {
		return err
	}
	fmt.Fprintln(d.app.err, "The recording is written. Read it before you send it to anybody.")
	return nil
}
