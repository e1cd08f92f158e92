package webflow_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/webflow"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

// A login manager asks for the password, shows the number that the user types into
// the authenticator app, and polls.
func Example() {
	ctx := context.Background()
	entra := entratest.NewServer(entratest.Options{Seed: 1, Users: []entratest.User{
		{Username: "carol", Password: "paper clip", NumberMatch: true},
	}})
	defer entra.Close()

	f, c, err := webflow.Begin(ctx, webflow.Options{
		Tenant: "contoso.example", Username: "carol@contoso.example", Password: "paper clip", MFA: true,
		Transport: entra.Transport(),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	fmt.Println(c.Kind, c.Number > 0, c.PollEvery)

	entra.AnswerNumberMatch("carol", c.Number) // carol, on the phone
	c, err = f.Continue(ctx, webflow.Answer{Poll: true})
	if err != nil {
		log.Fatal(err)
	}
	tokens, err := f.Tokens()
	fmt.Println(c.Kind, tokens, err)
	// tokens.Credential() is for Broker.Enroll and Broker.SignIn.

	// Output:
	// number true 1s
	// done Tokens{[redacted]} <nil>
}

// A wrong code ends nothing: the same challenge comes back with the error.
func ExampleFlow_Continue() {
	ctx := context.Background()
	entra := entratest.NewServer(entratest.Options{Seed: 1, Clock: entratest.NewClock(time.Time{}), Users: []entratest.User{
		{Username: "alice", Password: "paper clip", TOTPSecret: "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"},
	}})
	defer entra.Close()
	f, c, err := webflow.Begin(ctx, webflow.Options{
		Tenant: "contoso.example", Username: "alice@contoso.example", Password: "paper clip", MFA: true,
		Transport: entra.Transport(), Now: entra.Now,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	fmt.Println(c.Message)

	c, err = f.Continue(ctx, webflow.Answer{Code: "000000"})
	fmt.Println(c.Kind, errors.Is(err, webflow.ErrTryAgain), err)

	code, _, _ := entra.OneTimeCode("alice")
	c, err = f.Continue(ctx, webflow.Answer{Code: code})
	fmt.Println(c.Kind, err)

	// Output:
	// Enter the code of your authenticator app or token.
	// code true webflow: the code is wrong (AADSTS500121)
	// done <nil>
}

// pam asks as a PAM module does: by a conversation of its caller.
type pam struct{ answer func(question string) string }

func (p pam) Ask(_ context.Context, c webflow.Challenge, wrong error) (webflow.Answer, error) {
	if wrong != nil {
		fmt.Println(wrong)
	}
	switch {
	case c.Kind.Polls():
		fmt.Println(c.Message)
		return webflow.Answer{Poll: true}, nil
	case c.Kind == webflow.Password:
		return webflow.Answer{Password: p.answer(c.Message)}, nil
	}
	return webflow.Answer{Code: p.answer(c.Message)}, nil
}

// Pages is what a broker enrols by: the device is registered, and its PRT has the MFA
// that was done on the pages.
func ExamplePages() {
	ctx := context.Background()
	entra := entratest.NewServer(entratest.Options{Seed: 1, Clock: entratest.NewClock(time.Time{}), ReplicationLag: -1, Users: []entratest.User{
		{Username: "pia", Password: "paper clip", Phone: "+41 79 123 45 67"},
	}})
	defer entra.Close()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	keys, err := softkeys.Open(softkeys.File(filepath.Join(dir, "keys")), softkeys.InsecureFastPINs())
	if err != nil {
		log.Fatal(err)
	}
	defer keys.Close()
	b, err := broker.New(ctx, broker.Config{Tenant: "contoso.example", Keys: keys, Transport: entra.Transport(), Now: entra.Now})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()

	user := pam{func(question string) string {
		fmt.Println(question)
		if code, ok := entra.SMSCode("pia"); ok {
			return code
		}
		return "paper clip"
	}}
	res, err := b.Enroll(ctx, broker.WebFlow{LoginHint: "pia@contoso.example", MFA: true,
		Pages: &webflow.Pages{Options: webflow.Options{Transport: entra.Transport(), Now: entra.Now}, Asker: user}}, broker.EnrollRequest{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Account.PreferredUsername, "did MFA:", res.Metadata.MFA.MFA)

	// Output:
	// Enter your password.
	// Enter the code of the text message.
	// pia@contoso.example did MFA: yes
}
