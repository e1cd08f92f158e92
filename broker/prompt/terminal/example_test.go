package terminal_test

import (
	"context"
	"fmt"
	"log"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/prompt/terminal"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

// A broker that asks its user on the terminal.
func ExamplePrompter() {
	const clientID = "7d1f3c52-0b6e-4b57-9a53-2f6f0e1c9a11"
	ctx := context.Background()
	keys, err := softkeys.Open(softkeys.Secret(make([]byte, 32)))
	if err != nil {
		log.Fatal(err)
	}
	b, err := broker.New(ctx, broker.Config{
		Tenant:   "contoso.example",
		App:      broker.App{ClientID: clientID},
		Keys:     keys,
		Prompter: &terminal.Prompter{},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	fmt.Println(b.Accounts(ctx))
	// Output: [] <nil>
}
