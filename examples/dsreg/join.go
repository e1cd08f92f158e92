package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/prt"
)

// joined is the result of join and register.
type joined struct {
	Device   *broker.Device `json:"device"`
	Existing bool           `json:"existing"` // it was registered before
	Account  broker.Account `json:"account,omitzero"`
	Hardware bool           `json:"tpm"` // the keys are in a TPM
}

func (a *app) joinCommand() *cobra.Command {
	c := a.enrolling("join", "Join this machine to the tenant and sign in (an organization's device)", prt.JoinEntra)
	c.Long = `Join makes the device keys, registers this machine as a device of the
organization (Entra joined) and signs the user in, with one prompt for both.
A machine that has joined already is left as it is.`
	return c
}

func (a *app) registerCommand() *cobra.Command {
	c := a.enrolling("register", "Register this machine as the user's own device and sign in", prt.JoinPersonal)
	c.Long = `Register makes the device keys, registers this machine as a personal device
(Entra registered) and signs the user in, with one prompt for both.`
	return c
}

func (a *app) enrolling(name, short string, kind prt.JoinType) *cobra.Command {
	var cred credentialFlags
	c := &cobra.Command{
		Use:   name,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.enroll(c.Context(), cred, kind)
		},
	}
	cred.add(c)
	return c
}

func (a *app) enroll(ctx context.Context, cf credentialFlags, kind prt.JoinType) (err error) {
	m, err := a.begin(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	before, err := m.broker.Status(ctx)
	if err != nil {
		return err
	}
	r := joined{Existing: before.Registered, Hardware: before.Protection.Hardware}
	if before.Registered && len(before.Accounts) > 0 {
		r.Device, r.Account = &before.Device, before.Accounts[0]
		return a.showJoined(r)
	}
	cred, err := a.credential(ctx, cf)
	if err != nil {
		return err
	}
	res, err := m.broker.Enroll(ctx, cred, broker.EnrollRequest{JoinType: kind, Progress: a.progress(r.Hardware)})
	if err != nil {
		return err
	}
	after, err := m.broker.Status(ctx)
	if err != nil {
		return err
	}
	r.Device, r.Account = &after.Device, res.Account
	return a.showJoined(r)
}

func (a *app) showJoined(r joined) error {
	return a.print(r, func(w io.Writer) {
		verb := "is now"
		if r.Existing {
			verb = "was already"
		}
		fmt.Fprintf(w, "This machine %s device %s of %s.\n", verb, r.Device.ID, firstOf(r.Device.TenantName, r.Device.TenantID))
		if !r.Hardware {
			fmt.Fprintln(w, "Its keys are in a file: anyone who copies the state has them.")
		}
		if !r.Account.IsZero() {
			fmt.Fprintf(w, "%s is signed in.\n", r.Account.PreferredUsername)
		}
	})
}

func firstOf(s ...string) string {
	for _, v := range s {
		if v != "" {
			return v
		}
	}
	return ""
}

// steps are what a person is told while a registration takes its time.
var steps = map[broker.Step]string{
	broker.StepDeviceKey:    "making the device key",
	broker.StepTransportKey: "making the transport key",
	broker.StepRequest:      "registering the device",
	broker.StepPRT:          "signing in",
}

// progress tells on standard error what is under way.
func (a *app) progress(hardware bool) func(broker.Step) {
	if a.flags.json {
		return nil
	}
	return func(s broker.Step) {
		text, ok := steps[s]
		if !ok {
			return
		}
		if hardware && (s == broker.StepDeviceKey || s == broker.StepTransportKey) {
			text += " in the TPM (this can take 15 seconds)"
		}
		fmt.Fprintf(a.err, "%s…\n", text)
	}
}

func (a *app) leaveCommand() *cobra.Command {
	var local bool
	c := &cobra.Command{
		Use:   "leave",
		Short: "Remove this device from the tenant, with its accounts",
		Long: `Leave deletes the device object in the tenant and then the accounts and keys
here. With --local only this machine forgets: an administrator deletes the
device object, or it was deleted already.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.leave(c.Context(), local) },
	}
	c.Flags().BoolVar(&local, "local", false, "forget the registration here without asking the service")
	return c
}

// signOutAll erases the accounts, which are of no use without the device.
func signOutAll(ctx context.Context, m *machine) error {
	all, err := m.broker.Accounts(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, acct := range all {
		errs = append(errs, m.broker.RemoveAccount(ctx, acct))
	}
	return errors.Join(errs...)
}

func (a *app) leave(ctx context.Context, local bool) error {
	err := a.with(ctx, func(m *machine) error {
		let := m.broker.UnregisterDevice
		if local {
			let = m.broker.ForgetDevice
		}
		if err := let(ctx); err != nil {
			return err
		}
		return signOutAll(ctx, m)
	})
	if err != nil {
		return err
	}
	dir, err := a.stateDir()
	if err != nil {
		return err
	}
	// Another tenant, or a TPM instead of software keys, may come next.
	if err := os.Remove(filepath.Join(dir, "dsreg.json")); err != nil {
		return err
	}
	return a.did("", "This machine is no longer registered.")
}
