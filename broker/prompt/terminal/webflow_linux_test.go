package terminal_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
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

// unplugged is a security key that is missing at first.
type unplugged struct {
	tries int
	key   *entratest.Passkey
}

func (u *unplugged) Assert(_ context.Context, r webflow.KeyRequest) (*webflow.Assertion, error) {
	if u.tries++; u.tries == 1 {
		return nil, errors.New("no key\x1b[2J is plugged in")
	}
	rp := sha256.Sum256([]byte(r.RelyingParty))
	auth := append(rp[:], 5, 0, 0, 0, 1)
	data := sha256.Sum256(r.ClientDataJSON)
	sum := sha256.Sum256(append(auth[:len(auth):len(auth)], data[:]...))
	sig, err := ecdsa.SignASN1(rand.Reader, u.key.Key, sum[:])
	return &webflow.Assertion{ID: u.key.ID, AuthenticatorData: auth, Signature: sig}, err
}

// A security key that failed may be tried again, or left for a code on another device.
func TestSecurityKeyOnTheTerminal(t *testing.T) {
	t.Parallel()
	const page = "https://login.microsoftonline.com/contoso.example/oauth2/authorize?client_id=29d9ed98-a469-4536-ade2-f981bc1d605e&response_type=code&resource=urn%3Aaad%3Atb%3Aupdate%3Aprt&amr_values=ngcmfa&redirect_uri=ms-appx-web%3A%2F%2FMicrosoft.AAD.BrokerPlugin%2FDRS"
	key, err := entratest.NewPasskey()
	require.NoError(t, err)
	srv := entratest.NewTB(t, entratest.Options{Seed: 1, Users: []entratest.User{{Username: "kim", Password: "paper clip", Passkeys: []entratest.Passkey{*key}}}})
	for choice, want := range map[string]error{"1": nil, "2": errors.ErrUnsupported} {
		s := newScreen(t)
		u := &unplugged{key: key}
		p := &terminal.Prompter{Device: s.path, Key: u, SignIn: &webflow.Options{Transport: srv.Transport(), Password: "paper clip", Username: "kim@contoso.example"}}
		done := make(chan error, 1)
		go func() {
			_, err := p.Authorize(t.Context(), page, "ms-appx-web://Microsoft.AAD.BrokerPlugin/DRS")
			done <- err
		}()
		s.await(t, "The security key cannot be used (webflow: the security key: no key[2J is plugged in).")
		s.await(t, "1  Security key, again")
		s.await(t, "2  Code on another device")
		s.await(t, "Number of the way: ")
		s.press(t, choice+"\r")
		require.ErrorIs(t, <-done, want)
	}
}
