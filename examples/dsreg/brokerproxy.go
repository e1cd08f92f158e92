package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/prtbroker/prtbroker/broker/dbus"
)

func (a *app) brokerCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "broker",
		Short: "Work with the authentication broker of a Linux desktop",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_ = c.Help()
			return usagef("a command is missing: dsreg broker proxy")
		},
	}
	c.AddCommand(a.brokerProxyCommand())
	return c
}

func (a *app) brokerProxyCommand() *cobra.Command {
	p := brokerProxy{app: a}
	c := &cobra.Command{
		Use:   "proxy",
		Short: "Serve the broker of one message bus on another, such as a container's",
		Long: `Proxy serves com.microsoft.identity.broker1 on one message bus and passes calls to
the broker on another: linuxbroker, Microsoft's or himmelblau's. Programs in a
container can then use the broker of the host. In a container that has the bus of
the host at /run/host-bus:

	dsreg broker proxy --broker unix:path=/run/host-bus

or on the host, to serve the bus of a container:

	dsreg broker proxy --serve unix:path=/srv/container/run/bus

Every program that can reach the served bus gets this user's tokens: let nobody
else reach it. The broker shows its prompts where it runs. The user ids of both
sides must agree, since a message bus and the broker admit only their own user.

Proxy opens neither state nor TPM. It serves until it is interrupted.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return p.run(c.Context()) },
	}
	c.Flags().StringVar(&p.broker, "broker", "", "`address` of the bus that the broker is on (default: the session bus)")
	c.Flags().StringVar(&p.serve, "serve", "", "`address` of the bus to serve it on (default: the session bus)")
	return c
}

// brokerProxy is a client on one bus behind a service on another.
type brokerProxy struct {
	app           *app
	broker, serve string
}

func (p *brokerProxy) run(ctx context.Context) error {
	session := p.app.getenv("DBUS_SESSION_BUS_ADDRESS")
	from, to := cmp.Or(p.broker, session), cmp.Or(p.serve, session)
	if from == to {
		return usagef("--broker and --serve are the same bus, %q: give another one", from)
	}
	c, err := dbus.Dial(ctx, dbus.Options{Address: from})
	if err != nil {
		return fmt.Errorf("the bus of the broker, %s: %w", from, err)
	}
	version, err := c.Version(ctx)
	if err != nil {
		return errors.Join(err, c.Close())
	}
	logger := p.app.logger()
	s := &dbus.Service{
		Handler: &dbus.Handler{Broker: dbus.OwnUser(c), Version: version, Logger: logger},
		Address: to,
		Logger:  cmp.Or(logger, slog.New(slog.NewTextHandler(p.app.err, nil))),
		Ready: func() {
			fmt.Fprintf(p.app.err, "dsreg: serving the broker of %s (version %s) on %s\n", from, version, to)
		},
	}
	err = s.Run(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil // it was interrupted, which is how it ends
	}
	return errors.Join(err, c.Close())
}
