package fido_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log"
	"strings"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/prompt/terminal"
	"github.com/prtbroker/prtbroker/broker/webflow"
	"github.com/prtbroker/prtbroker/broker/webflow/fido"
	"github.com/prtbroker/prtbroker/broker/webflow/fido/fidotest"
)

// On a terminal: the terminal asks for the key's PIN and says when to touch it.
func ExampleKey() {
	p := new(terminal.Prompter)
	pages := &webflow.Pages{Asker: p, Key: &fido.Key{Prompter: fido.Text(p)}}
	cred := broker.WebFlow{LoginHint: "kim@contoso.example", MFA: true, Pages: pages}
	_ = cred // for Broker.Enroll and Broker.SignIn
}

// A screen prints what it is told, and its user enters the same PIN always.
type screen string

func (s screen) Secret(_ context.Context, question string) ([]byte, error) {
	fmt.Println(strings.TrimSpace(question))
	return []byte(s), nil
}

func (screen) Show(_ context.Context, text string) error {
	fmt.Println(text)
	return nil
}

// A login manager keeps the steps in its own hands: it gets a challenge, hands it to
// the key, and goes on with the assertion.
func ExampleKey_Assert() {
	ctx := context.Background()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	entra := entratest.NewServer(entratest.Options{Seed: 1, Users: []entratest.User{
		{Username: "kim", Password: "paper clip", Passkeys: []entratest.Passkey{{ID: []byte("of kim"), Key: key}}},
	}})
	defer entra.Close()
	virtual := fidotest.New(fidotest.Options{PIN: "1234"})
	virtual.Add(fidotest.Credential{RelyingParty: "login.microsoft.com", ID: []byte("of kim"), Key: key})

	f, c, err := webflow.Begin(ctx, webflow.Options{
		Tenant: "contoso.example", Username: "kim@contoso.example", Password: "paper clip", MFA: true, Transport: entra.Transport(),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	fmt.Println(c.Kind)
	k := &fido.Key{Prompter: fido.Text(screen("1234")), Devices: fidotest.Devices(virtual)}
	assertion, err := k.Assert(ctx, *c.Fido)
	if err != nil {
		log.Fatal(err)
	}
	c, err = f.Continue(ctx, webflow.Answer{Assertion: assertion})
	fmt.Println(c.Kind, err)

	// Output:
	// security key
	// PIN of the security key Virtual security key:
	// Touch the security key Virtual security key.
	// done <nil>
}
