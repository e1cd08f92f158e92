package broker_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/prtbroker/prtbroker/broker"
)

// A PIN is set up within minutes of MFA. From then on it is MFA: at the lock
// screen, and for every app.
func ExampleBroker_Unlock() {
	srv, cfg := exampleTenant()
	defer srv.Close()
	ctx := context.Background()
	cfg.InsecureSoftwareHello = true // this example has no TPM; yours has
	b, err := broker.New(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	res, err := b.Enroll(ctx, broker.AuthCode{LoginHint: alice, MFA: true}, broker.EnrollRequest{})
	if err != nil {
		log.Fatal(err)
	}
	if err := b.ProvisionHello(ctx, res.Account, broker.PIN("123456")); errors.Is(err, broker.ErrPINRules) {
		fmt.Println(err)
	}
	if err := b.ProvisionHello(ctx, res.Account, broker.PIN("271828")); err != nil {
		log.Fatal(err)
	}

	_, err = b.Unlock(ctx, res.Account, broker.PIN("314159"))
	fmt.Println(errors.Is(err, broker.ErrWrongPIN))
	u, err := b.Unlock(ctx, res.Account, broker.PIN("271828"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("offline:", u.Offline, "MFA:", u.MFA.MFA, "by", u.MFA.Source)
	_, err = b.AcquireTokenSilent(ctx, payroll) // behind "require MFA"
	fmt.Println(err)
	// Output:
	// broker: provision Hello: the PIN is a pattern: each digit follows from the one before in the same way
	// true
	// offline: false MFA: yes by hello
	// <nil>
}
