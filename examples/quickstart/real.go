package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/store"
)

// A terminal shows a device code. It cannot show pages.
type terminal struct{ out io.Writer }

func (terminal) Authorize(context.Context, string, string) (string, error) {
	return "", broker.ErrInteractionRequired
}

func (t terminal) DeviceCode(_ context.Context, dc broker.DeviceCode) error {
	_, err := fmt.Fprintf(t.out, "   %s\n", dc.Message)
	return err
}

func (terminal) PIN(context.Context, broker.Account) (broker.PIN, error) {
	return nil, broker.ErrUserCanceled
}

// realTenant runs the first three steps against Entra ID. The registration
// stays in the tenant and in -state.
func realTenant(ctx context.Context, o options, out io.Writer) (err error) {
	if o.state == "" {
		return errors.New("-tenant registers a device that outlives this run: use -state to say where to keep its state")
	}
	dir, _, err := stateDir(o.state)
	if err != nil {
		return err
	}
	if err := refuseEmulated(dir); err != nil {
		return err
	}
	rec, err := record(o.record, o.tenant)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rec.close(o.record, out)) }()
	m, err := openMachine(ctx, chooseTPM(o.tpm, out), filepath.Join(dir, "keys"), rec)
	if rec.step("keys", err) != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	state, err := store.NewFile(filepath.Join(dir, "state"))
	if err != nil {
		return err
	}
	b, err := broker.New(ctx, broker.Config{
		Tenant:   o.tenant,
		App:      broker.App{ClientID: broker.BrokerClientID, RedirectURI: broker.BrokerRedirect},
		Keys:     m.keys,
		Store:    state,
		Prompter: terminal{out},
		Logger:   o.logger,

		Transport: rec.transport(o.transport),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()

	s := &story{out: out}
	fmt.Fprintf(out, "1. This device joins %s, keys in: %s.\n", o.tenant, m.describe())
	res, err := b.Enroll(ctx, broker.DeviceCodeFlow{}, broker.EnrollRequest{})
	if rec.step("enroll", err) != nil {
		return fmt.Errorf("step 1 does not hold: %w", err)
	}
	st, err := b.PRTStatus(ctx, res.Account)
	if err != nil {
		return err
	}
	s.say("device id", "%s", st.DeviceID)
	fmt.Fprintf(out, "2. %s has a PRT.\n", res.Account.PreferredUsername)
	s.say("amr", "%s", strings.Join(st.MFA.Methods.AMR(), " "))
	s.say("expires", "%s", at(st.ExpiresOn))
	fmt.Fprintln(out, "3. A silent token for Graph.")
	tok, err := b.AcquireTokenSilent(ctx, []string{graphScope}, broker.WithAccount(res.Account))
	if rec.step("silent token", err) != nil {
		return fmt.Errorf("step 3 does not hold: %w", err)
	}
	s.say("token", "from the %s, expires %s", tok.Metadata.Source, at(tok.ExpiresOn))
	if rec != nil {
		further(ctx, b, res.Account, rec)
	}
	status, err := b.Status(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "\n%s", status)
	return err
}

// mailScope is one that the broker client has not: the service refuses it, AADSTS65002.
const mailScope = "https://graph.microsoft.com/Mail.Read"

// further asks for what a recording shows and a story need not: a renewal, a token
// that replaces one, and a refusal. It changes nothing in the tenant, and none of it
// has to succeed.
func further(ctx context.Context, b *broker.Broker, who broker.Account, rec *recording) {
	_ = rec.step("renew", b.RenewPRT(ctx, who))
	_, err := b.AcquireTokenSilent(ctx, []string{graphScope}, broker.WithAccount(who), broker.WithForceRefresh())
	_ = rec.step("silent token again", err)
	_, err = b.AcquireTokenSilent(ctx, []string{mailScope}, broker.WithAccount(who))
	_ = rec.step("refused scope", err)
	_, err = b.SSOCookies(ctx, "https://login.microsoftonline.com/common/oauth2/authorize", broker.WithAccount(who))
	_ = rec.step("cookie", err)
}
