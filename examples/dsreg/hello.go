package main

import (
	"context"
	"crypto/subtle"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/prtbroker/prtbroker/broker"
)

// pinFlags say where PINs come from.
type pinFlags struct{ stdin bool }

func (f *pinFlags) add(c *cobra.Command) {
	c.Flags().BoolVar(&f.stdin, "pin-stdin", false, "read PINs from standard input, one per line, instead of the terminal")
}

// pin asks for a PIN. The caller clears it.
func (a *app) pin(ctx context.Context, f pinFlags, question string) (broker.PIN, error) {
	if f.stdin {
		line, err := a.nextLine()
		return broker.PIN(line), err
	}
	b, err := a.terminal().Secret(ctx, question)
	return broker.PIN(b), err
}

// newPIN asks for a PIN twice on the terminal, and once on standard input.
func (a *app) newPIN(ctx context.Context, f pinFlags) (broker.PIN, error) {
	pin, err := a.pin(ctx, f, "New PIN: ")
	if err != nil || f.stdin {
		return pin, err
	}
	again, err := a.pin(ctx, f, "New PIN again: ")
	if err != nil {
		clear(pin)
		return nil, err
	}
	defer clear(again)
	if subtle.ConstantTimeCompare(pin, again) != 1 {
		clear(pin)
		return nil, fmt.Errorf("the two PINs differ; nothing was changed")
	}
	return pin, nil
}

// maxSecret bounds a password or PIN on standard input.
const maxSecret = 4 << 10

// nextLine reads exactly one line of standard input, since another secret may
// follow it.
func (a *app) nextLine() ([]byte, error) {
	var line []byte
	b := make([]byte, 1)
	for len(line) < maxSecret {
		n, err := a.in.Read(b)
		if n == 1 && b[0] == '\n' || err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if n == 1 && b[0] != '\r' {
			line = append(line, b[0])
		}
	}
	if len(line) == 0 {
		return nil, usagef("standard input is empty")
	}
	return line, nil
}

func (a *app) helloCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "hello",
		Short: "Manage the Hello key, which a PIN unlocks and which counts as MFA",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return usagef("hello: use set, change, reset, remove or status") },
	}
	c.AddCommand(a.helloSet(), a.helloChange(), a.helloReset(), a.helloRemove(), a.helloStatus())
	return c
}

func (a *app) helloSet() *cobra.Command {
	return a.withPIN("set", "Make a Hello key and register it (needs recent MFA)", func(ctx context.Context, m *machine, acct broker.Account, pf pinFlags) error {
		pin, err := a.newPIN(ctx, pf)
		if err != nil {
			return err
		}
		defer clear(pin)
		if err := m.broker.ProvisionHello(ctx, acct, pin); err != nil {
			return err
		}
		return a.did(acct.PreferredUsername, "The PIN is set.")
	})
}

func (a *app) helloChange() *cobra.Command {
	return a.withPIN("change", "Give the Hello key another PIN", func(ctx context.Context, m *machine, acct broker.Account, pf pinFlags) error {
		old, err := a.pin(ctx, pf, "Old PIN: ")
		if err != nil {
			return err
		}
		defer clear(old)
		pin, err := a.newPIN(ctx, pf)
		if err != nil {
			return err
		}
		defer clear(pin)
		if err := m.broker.ChangePIN(ctx, acct, old, pin); err != nil {
			return err
		}
		return a.did(acct.PreferredUsername, "The PIN is changed.")
	})
}

func (a *app) helloReset() *cobra.Command {
	return a.withPIN("reset", "Replace a forgotten PIN and its key (needs MFA)", func(ctx context.Context, m *machine, acct broker.Account, pf pinFlags) error {
		pin, err := a.newPIN(ctx, pf)
		if err != nil {
			return err
		}
		defer clear(pin)
		if err := m.broker.ResetPIN(ctx, acct, pin); err != nil {
			return err
		}
		return a.did(acct.PreferredUsername, "The PIN is reset; the old key no longer signs in.")
	})
}

func (a *app) helloRemove() *cobra.Command {
	return a.onAccount("remove", "Delete the Hello key, at the service first", func(ctx context.Context, m *machine, acct broker.Account) error {
		if err := m.broker.RemoveHello(ctx, acct); err != nil {
			return err
		}
		return a.did(acct.PreferredUsername, "The Hello key is removed.")
	})
}

func (a *app) helloStatus() *cobra.Command {
	return a.onAccount("status", "Describe the Hello key", func(ctx context.Context, m *machine, acct broker.Account) error {
		s, err := m.broker.HelloStatus(ctx, acct)
		if err != nil {
			return err
		}
		return a.print(s, func(w io.Writer) {
			switch {
			case !s.Set:
				fmt.Fprintln(w, "There is no Hello key on this device.")
				return
			case s.Software:
				fmt.Fprintf(w, "Hello key %s in software: only this program counts wrong PINs.\n", s.KeyID)
			default:
				fmt.Fprintf(w, "Hello key %s in the TPM, which counts wrong PINs.\n", s.KeyID)
			}
			if s.WrongPINs > 0 {
				fmt.Fprintf(w, "Wrong PINs since the last correct one: %d.\n", s.WrongPINs)
			}
			if s.RetryAfter > 0 {
				fmt.Fprintf(w, "No PIN can be tried for another %s.\n", s.RetryAfter)
			}
			if s.Unknown {
				fmt.Fprintln(w, "The service no longer knows it: dsreg hello set makes a new one.")
			}
			if s.Unfinished {
				fmt.Fprintln(w, "Its registration was sent but not answered: dsreg hello set continues it.")
			}
			if s.Locked {
				fmt.Fprintln(w, "The account is locked.")
			}
		})
	})
}

// withPIN is a command on an account that asks for PINs.
func (a *app) withPIN(use, short string, do func(context.Context, *machine, broker.Account, pinFlags) error) *cobra.Command {
	var pf pinFlags
	c := a.onAccount(use, short, func(ctx context.Context, m *machine, acct broker.Account) error {
		return do(ctx, m, acct, pf)
	})
	pf.add(c)
	return c
}
