package fidotest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log"

	"github.com/prtbroker/prtbroker/broker/webflow/fido"
	"github.com/prtbroker/prtbroker/broker/webflow/fido/fidotest"
)

// A program under test finds this key as it finds those on USB.
func ExampleNew() {
	var prompter fido.Prompter // asks for the PIN
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	virtual := fidotest.New(fidotest.Options{PIN: "1234"})
	virtual.Add(fidotest.Credential{RelyingParty: "login.microsoft.com", ID: []byte("of kim"), Key: key})
	security := &fido.Key{Prompter: prompter, Devices: fidotest.Devices(virtual)}
	devices, err := security.Devices(context.Background())
	fmt.Println(len(devices), err)
	// Output: 1 <nil>
}
