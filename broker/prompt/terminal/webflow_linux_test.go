package terminal_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/prompt/terminal"
	"github.com/prtbroker/prtbroker/broker/webflow"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

// A person at a terminal signs in with a password and a second factor, chosen of
// two, and no browser.
func TestSignInOnTheTerminal(t *testing.T) {
	t.Parallel()
	clock := entratest.NewClock(time.Time{})
	srv := entratest.NewTB(t, entratest.Options{Clock: clock, Seed: 1, ReplicationLag: -1, Users: []entratest.User{
		{Username: "pia", Password: "paper clip", Phone: "+41 79 123 45 67"},
	}})
	keys, err := softkeys.Open(softkeys.File(t.TempDir()+"/master"), softkeys.InsecureFastPINs())
	require.NoError(t, err)
	defer keys.Close()
	s := newScreen(t)
	p := &terminal.Prompter{Device: s.path, SignIn: &webflow.Options{Transport: srv.Transport()}}
	b, err := broker.New(t.Context(), broker.Config{Tenant: "contoso.example", Keys: keys, Transport: srv.Transport(), Now: clock.Now, Prompter: p})
	require.NoError(t, err)
	defer b.Close()
	type result struct {
		broker.AuthResult
		err error
	}
	done := make(chan result, 1)
	go func() {
		res, err := b.Enroll(t.Context(), broker.AuthCode{MFA: true}, broker.EnrollRequest{})
		done <- result{res, err}
	}()
	s.await(t, "User name: ")
	s.press(t, "pia@contoso.example\r")
	s.await(t, "Enter your password. ")
	s.press(t, "rubber band\r")
	s.await(t, "That was not accepted. Try again.")
	s.await(t, "Enter your password. ")
	s.press(t, "paper clip\r")
	s.await(t, "Enter the code of the text message (? for another way): ")
	s.press(t, "?\r")
	s.await(t, "1  Call (+")
	s.await(t, "Number of the way: ")
	s.press(t, "1\r")
	s.await(t, "Answer the call to your phone.")
	require.True(t, srv.AnswerCall("pia", true))
	res := <-done
	require.NoError(t, res.err)
	require.Equal(t, claims.Yes, res.Metadata.MFA.MFA)
}

// A page that nobody can answer on a terminal makes the broker ask by device code.
func TestSignInFallsBackToDeviceCode(t *testing.T) {
	t.Parallel()
	srv := entratest.NewTB(t, entratest.Options{Seed: 1, Users: []entratest.User{{Username: "bob", Password: "paper clip"}}})
	s := newScreen(t)
	p := &terminal.Prompter{Device: s.path, SignIn: &webflow.Options{Transport: srv.Transport(), Password: "paper clip", Username: "bob@contoso.example"}}
	_, err := p.Authorize(t.Context(), "https://login.microsoftonline.com/contoso.example/oauth2/authorize?client_id=29d9ed98-a469-4536-ade2-f981bc1d605e&response_type=code&resource=urn%3Aaad%3Atb%3Aupdate%3Aprt&amr_values=ngcmfa&redirect_uri=ms-appx-web%3A%2F%2FMicrosoft.AAD.BrokerPlugin%2FDRS",
		"ms-appx-web://Microsoft.AAD.BrokerPlugin/DRS")
	require.ErrorIs(t, err, webflow.ErrNoMethod)
	require.ErrorIs(t, err, errors.ErrUnsupported)
}
