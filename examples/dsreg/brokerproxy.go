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
			return usagef("say a command: dsreg broker proxy")
		},
	}
	c.AddCommand(a.brokerProxyCommand())
	return c
}

func (a *app) brokerProxyCommand() *cobra.Command {
	p := brokerProxy{app: a}
	c := &cobra.Command{
		Use:   "proxy",
		Short: "Serve the broker of one message bus on another, as for a container",
		Long: `Proxy serves com.microsoft.identity.broker1 on one message bus and answers from
the broker on another, be it linuxbroker, Microsoft's or himmelblau's. Programs in
a container then sign in by the broker of its host. In a container that has the
bus of the host at /run/host-bus:

	dsreg broker proxy --broker unix:path=/run/host-bus

or on the host, for the bus of a container:

	dsreg broker proxy --serve unix:path=/srv/container/run/bus

Programs on the bus that is served get what the broker gives to this user: let
nobody else reach it. The broker shows its prompts where it runs. The user ids of
both sides must agree, since a message bus and the broker let in their own user.

No state and no TPM is opened. It serves until it is interrupted.`,
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
		return usagef("say with --broker or --serve which other bus: both are %q", from)
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
