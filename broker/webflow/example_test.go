package webflow_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/webflow"
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
