package dbus_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/dbus"
)

// Serving takes a bus, which not every machine has.
func ExampleService() {
	var b *broker.Broker
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	h := &dbus.Handler{Broker: dbus.OwnUser(b)} // b is a *broker.Broker with a Prompter
	err := (&dbus.Service{Handler: h}).Run(ctx) // until ctx ends
	fmt.Println(err != nil)
}

// A program gets a token from whichever broker runs on the desktop.
func ExampleDial() {
	err := tokenFromTheBus(context.Background())
	if errors.Is(err, dbus.ErrNoBroker) {
		fmt.Println("no broker on the bus")
	}
}

func tokenFromTheBus(ctx context.Context) error {
	client, err := dbus.Dial(ctx, dbus.Options{App: broker.App{ClientID: appID}})
	if err != nil {
		return err
	}
	defer client.Close()
	token, err := client.AcquireTokenSilent(ctx, []string{"https://graph.microsoft.com/User.Read"})
	if err != nil {
		return err
	}
	fmt.Println(token.ExpiresOn)
	return nil
}
