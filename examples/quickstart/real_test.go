package main

import (
	"bytes"
	"log/slog"
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

var userCode = regexp.MustCompile(`enter the code ([A-Z0-9]+)`)

// The steps against a real tenant, which no test has: the emulator stands in
// for it, and the user approves the code as soon as it is shown.
func TestRealTenant(t *testing.T) {
	o := tenantOptions(entratest.NewClock(time.Now()))
	srv := entratest.NewTB(t, o)
	phone := &phone{t: t, client: srv.Client(), person: entratest.Person{Username: username, Password: password, TOTPSecret: totpSecret}}
	err := realTenant(t.Context(), options{
		tpm:       "software",
		tenant:    domain,
		state:     t.TempDir(),
		logger:    slog.New(slog.DiscardHandler),
		transport: srv.HTTPTransport(),
	}, phone)
	require.NoError(t, err)
	require.Equal(t, 1, phone.approved)
	for _, want := range []string{"1. This device joins", "2. " + username + " has a PRT", "3. A silent token", "AzureAdJoined : YES", "AzureAdPrt : YES"} {
		require.Contains(t, phone.text.String(), want)
	}
	require.NotContains(t, phone.text.String(), password)
}

// A phone approves the device code that a terminal shows.
type phone struct {
	t        *testing.T
	text     bytes.Buffer
	client   *http.Client
	person   entratest.Person
	approved int
}

func (p *phone) Write(b []byte) (int, error) {
	if m := userCode.FindSubmatch(b); m != nil {
		p.approved++
		require.NoError(p.t, p.person.ApproveDeviceCode(p.t.Context(), p.client, string(m[1])))
	}
	return p.text.Write(b)
}
