package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/prompt/terminal"
	"github.com/prtbroker/prtbroker/tpm"
)

// credentialFlags say what the user signs in with.
type credentialFlags struct {
	password bool
	stdin    bool
	browser  bool
	mfa      bool
}

func (f *credentialFlags) add(c *cobra.Command) {
	c.Flags().BoolVar(&f.password, "password", false, "sign in with the user name of --account and a password, asked for without echo")
	c.Flags().BoolVar(&f.stdin, "password-stdin", false, "like --password, with the password as the first line of standard input")
	c.Flags().BoolVar(&f.browser, "browser", false, "sign in on a page in a browser, and paste the address where it ends")
	c.Flags().BoolVar(&f.mfa, "mfa", false, "ask for fresh MFA")
	c.MarkFlagsMutuallyExclusive("password", "password-stdin", "browser")
	c.MarkFlagsMutuallyExclusive("password", "password-stdin", "mfa")
}

// credential returns what the user signs in with: by default a device code,
// which needs no browser here.
func (a *app) credential(ctx context.Context, f credentialFlags) (broker.Credential, error) {
	switch {
	case f.stdin:
		if a.flags.account == "" {
			return nil, usagef("--password-stdin needs --account")
		}
		line, err := a.nextLine()
		if err != nil {
			return nil, err
		}
		return broker.Password{Username: a.flags.account, Password: string(line)}, nil
	case f.password:
		if a.flags.account == "" {
			return nil, usagef("--password needs --account")
		}
		pw, err := a.terminal().Secret(ctx, "Password for "+a.flags.account+": ")
		if err != nil {
			return nil, err
		}
		defer clear(pw)
		return broker.Password{Username: a.flags.account, Password: string(pw)}, nil
	case f.browser:
		return broker.AuthCode{LoginHint: a.flags.account, MFA: f.mfa}, nil
	}
	return broker.DeviceCodeFlow{MFA: f.mfa}, nil
}

func (a *app) terminal() *terminal.Prompter { return &terminal.Prompter{} }

// signedIn is the result of signin and unlock.
type signedIn struct {
	Account broker.Account   `json:"account"`
	Offline bool             `json:"offline,omitempty"`
	Left    *left            `json:"left,omitempty"`
	PRT     broker.PRTStatus `json:"prt"`
}

// left is how long the PIN still unlocks without the service.
type left struct {
	Seconds  float64 `json:"seconds"`
	Resets   int     `json:"resets"`
	Restarts int     `json:"restarts"`
}

func (a *app) signinCommand() *cobra.Command {
	var cred credentialFlags
	var hello pinFlags
	var usePIN bool
	c := &cobra.Command{
		Use:   "signin",
		Short: "Sign a user in on this device",
		Long: `Signin gets a Primary Refresh Token for a user. By default it shows a code
to enter on any other device.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(m *machine) error {
				return a.signin(c.Context(), m, cred, usePIN || hello.stdin, hello)
			})
		},
	}
	cred.add(c)
	hello.add(c)
	c.Flags().BoolVar(&usePIN, "pin", false, "sign in with the Hello PIN")
	return c
}

func (a *app) signin(ctx context.Context, m *machine, cf credentialFlags, usePIN bool, pf pinFlags) error {
	acct, err := a.find(ctx, m)
	if err != nil && (usePIN || !errors.Is(err, broker.ErrNoAccount)) {
		return err // a user who is new here has no account yet
	}
	var cred broker.Credential
	if usePIN {
		pin, err := a.pin(ctx, pf, "PIN: ")
		if err != nil {
			return err
		}
		defer clear(pin)
		cred = broker.HelloPIN{PIN: pin}
	} else if cred, err = a.credential(ctx, cf); err != nil {
		return err
	}
	var opts []broker.CallOption
	if !acct.IsZero() {
		opts = append(opts, broker.WithAccount(acct))
	}
	res, err := m.broker.SignIn(ctx, cred, opts...)
	if err != nil {
		return err
	}
	return a.showSignedIn(ctx, m, signedIn{Account: res.Account})
}

func (a *app) showSignedIn(ctx context.Context, m *machine, r signedIn) (err error) {
	if r.PRT, err = m.broker.PRTStatus(ctx, r.Account); err != nil {
		return err
	}
	return a.print(r, func(w io.Writer) {
		where := ""
		if r.Offline {
			where = " without the service"
		}
		fmt.Fprintf(w, "%s is signed in%s. MFA: %s.\n", r.Account.PreferredUsername, where, r.PRT.MFA.MFA)
	})
}

// offline is how long a PIN unlocks without the service.
var offline = tpm.Limit{Time: 7 * 24 * 3600 * 1e9, Resets: 20, Restarts: -1}

func (a *app) unlockCommand() *cobra.Command {
	var pf pinFlags
	c := &cobra.Command{
		Use:   "unlock",
		Short: "Unlock with the Hello PIN, also without a network",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx := c.Context()
			return a.with(ctx, func(m *machine) error {
				acct, err := a.find(ctx, m)
				if err != nil {
					return err
				}
				pin, err := a.pin(ctx, pf, "PIN: ")
				if err != nil {
					return err
				}
				defer clear(pin)
				u, err := m.broker.Unlock(ctx, acct, pin)
				if err != nil {
					return err
				}
				r := signedIn{Account: u.Account, Offline: u.Offline}
				if u.Offline {
					r.Left = &left{u.Left.Time.Seconds(), u.Left.Resets, u.Left.Restarts}
				}
				return a.showSignedIn(ctx, m, r)
			})
		},
	}
	pf.add(c)
	return c
}

func (a *app) lockCommand() *cobra.Command {
	c := a.withPIN("lock", "Seal the account's tokens so that only the PIN opens them", func(ctx context.Context, m *machine, acct broker.Account, pf pinFlags) error {
		pin, err := a.pin(ctx, pf, "PIN: ")
		if err != nil {
			return err
		}
		defer clear(pin)
		u, err := m.broker.Unlock(ctx, acct, pin)
		if err != nil {
			return err
		}
		if err := m.broker.Lock(ctx, u.Account); err != nil {
			return err
		}
		return a.did(u.Account.PreferredUsername, "The account is locked. dsreg unlock opens it.")
	})
	c.Long = `Lock asks for the PIN, which is needed to seal the tokens under it. They are kept
for dsreg unlock, which works without a network for at most a week. Lock needs a
TPM.`
	return c
}

func (a *app) refreshCommand() *cobra.Command {
	return a.onAccount("refresh", "Renew the Primary Refresh Token now", func(ctx context.Context, m *machine, acct broker.Account) error {
		if err := m.broker.RenewPRT(ctx, acct); err != nil {
			return err
		}
		s, err := m.broker.PRTStatus(ctx, acct)
		if err != nil {
			return err
		}
		return a.print(s, func(w io.Writer) {
			fmt.Fprintf(w, "The PRT of %s is valid until %s.\n", s.Account.PreferredUsername, s.ExpiresOn.UTC().Format("2006-01-02 15:04 UTC"))
		})
	})
}

// onAccount is a command that does one thing with an account.
func (a *app) onAccount(use, short string, do func(context.Context, *machine, broker.Account) error) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx := c.Context()
			return a.with(ctx, func(m *machine) error {
				acct, err := a.find(ctx, m)
				if err != nil {
					return err
				}
				return do(ctx, m, acct)
			})
		},
	}
}
