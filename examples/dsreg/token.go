package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/prtbroker/prtbroker/broker"
)

// token is the result of token.
type token struct {
	AccessToken string         `json:"accessToken"`
	TokenType   string         `json:"tokenType"`
	ExpiresOn   time.Time      `json:"expiresOn"`
	Scopes      []string       `json:"scopes"`
	Source      string         `json:"source"` // cache, prt, refresh token or interactive
	Account     broker.Account `json:"account"`
}

func (a *app) tokenCommand() *cobra.Command {
	var interactive, force bool
	var claims string
	c := &cobra.Command{
		Use:   "token SCOPE...",
		Short: "Print an access token for an app, without a prompt",
		Long: `Token prints an access token. It never prompts: if a policy of the tenant requires
the user, it exits with status 3. With --interactive it prompts then.

The token is a secret. With --json the rest of the result is printed too.`,
		Example: "  dsreg token https://graph.microsoft.com/User.Read\n  dsreg token api://payroll/.default --interactive",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, scopes []string) error {
			ctx := c.Context()
			return a.with(ctx, func(m *machine) error {
				opts, err := a.options(ctx, m)
				if err != nil {
					return err
				}
				if claims != "" {
					opts = append(opts, broker.WithClaims(claims))
				}
				silent := opts
				if force {
					silent = append(opts[:len(opts):len(opts)], broker.WithForceRefresh())
				}
				r, err := m.broker.AcquireTokenSilent(ctx, scopes, silent...)
				if interactive && errors.Is(err, broker.ErrInteractionRequired) {
					r, err = m.broker.AcquireTokenInteractive(ctx, scopes, opts...)
				}
				if err != nil {
					return err
				}
				return a.showToken(r)
			})
		},
	}
	c.Flags().BoolVarP(&interactive, "interactive", "i", false, "ask the user when that is needed")
	c.Flags().BoolVar(&force, "force", false, "get a new token even if one is cached")
	c.Flags().StringVar(&claims, "claims", "", "`JSON` of a claims challenge")
	return c
}

// options returns the options of every call for an account.
func (a *app) options(ctx context.Context, m *machine) ([]broker.CallOption, error) {
	acct, err := a.find(ctx, m)
	if err != nil || acct.IsZero() {
		return nil, err
	}
	return []broker.CallOption{broker.WithAccount(acct)}, nil
}

func (a *app) showToken(r broker.AuthResult) error {
	t := token{r.AccessToken, r.TokenType, r.ExpiresOn.UTC(), r.GrantedScopes, r.Metadata.Source.String(), r.Account}
	return a.print(t, func(w io.Writer) { fmt.Fprintln(w, r.AccessToken) })
}

// cookie is one result of cookie.
type cookie struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (a *app) cookieCommand() *cobra.Command {
	var nonce string
	c := &cobra.Command{
		Use:   "cookie URL",
		Short: "Print the cookie that signs the user in at a sign-in page",
		Long: `Cookie prints, as name=value, the cookie that signs the user and this device in
at URL, an https address of a sign-in host. It is a secret: for some minutes
anyone who has it is the user, with MFA.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			return a.with(ctx, func(m *machine) error {
				opts, err := a.options(ctx, m)
				if err != nil {
					return err
				}
				if nonce != "" {
					opts = append(opts, broker.WithNonce(nonce))
				}
				all, err := m.broker.SSOCookies(ctx, args[0], opts...)
				if err != nil {
					return err
				}
				return a.showCookies(all)
			})
		},
	}
	c.Flags().StringVar(&nonce, "nonce", "", "`sso_nonce` of the page (default: the one in URL, or a new one)")
	return c
}

func (a *app) showCookies(all []*http.Cookie) error {
	var out []cookie
	for _, k := range all {
		out = append(out, cookie{k.Name, k.Value})
	}
	return a.print(out, func(w io.Writer) {
		for _, k := range out {
			fmt.Fprintf(w, "%s=%s\n", k.Name, k.Value)
		}
	})
}

func (a *app) accountsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "accounts",
		Short: "List who is signed in on this device",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(m *machine) error {
				all, err := m.broker.Accounts(c.Context())
				if err != nil {
					return err
				}
				if all == nil {
					all = []broker.Account{}
				}
				return a.print(all, func(w io.Writer) {
					for _, acct := range all {
						fmt.Fprintln(w, acct.PreferredUsername)
					}
				})
			})
		},
	}
	c.AddCommand(&cobra.Command{
		Use:   "remove USER",
		Short: "Sign a user out on this device and erase the account's state",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			a.flags.account = args[0]
			return a.with(ctx, func(m *machine) error {
				acct, err := a.find(ctx, m)
				if err != nil {
					return err
				}
				if err := m.broker.RemoveAccount(ctx, acct); err != nil {
					return err
				}
				return a.did(acct.PreferredUsername, "%s is signed out.", acct.PreferredUsername)
			})
		},
	})
	return c
}
