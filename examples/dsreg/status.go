package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/prtbroker/prtbroker/broker"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Print the state of device, user and sign-on, in the layout of dsregcmd /status",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx := c.Context()
			err := a.with(ctx, func(m *machine) error {
				s, err := m.broker.Status(ctx)
				if err != nil {
					return err
				}
				return a.print(s, func(w io.Writer) { fmt.Fprint(w, s) })
			})
			if errors.Is(err, errNotJoined) { // a machine that never joined has a status too
				s := broker.Status{Time: time.Now(), Accounts: []broker.Account{}, PRTs: []broker.PRTStatus{}}
				return a.print(s, func(w io.Writer) { fmt.Fprint(w, s) })
			}
			return err
		},
	}
}

func (a *app) whyCommand() *cobra.Command {
	var policies, resource string
	c := &cobra.Command{
		Use:   "why SCOPE…",
		Short: "Say whether an app's token takes a prompt, and because of what",
		Long: `Why follows the chain from the registration of this device to the policies of the
tenant and says whether the user is asked when the app of --app wants a token
for SCOPE. It makes no request. With --policies it judges the tenant's
Conditional Access policies, as Microsoft Graph exports them; without, it
knows what the service said the last time.`,
		Example: "  dsreg why https://graph.microsoft.com/User.Read\n  dsreg why api://payroll/.default --policies export/",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, scopes []string) error {
			ctx := c.Context()
			return a.with(ctx, func(m *machine) error { return a.why(ctx, m, scopes, resource, policies) })
		},
	}
	c.Flags().StringVar(&policies, "policies", "", "`file` or directory with the tenant's policies, named locations and strengths")
	c.Flags().StringVar(&resource, "resource", "", "application `id` of the resource, when SCOPE does not name it")
	return c
}

func (a *app) why(ctx context.Context, m *machine, scopes []string, resource, path string) error {
	acct, err := a.find(ctx, m)
	if err != nil {
		return err
	}
	if path != "" {
		set, err := loadPolicies(path)
		if err != nil {
			return err
		}
		m.policies = set
	}
	e, err := m.broker.Why(ctx, broker.WhyInput{Account: acct, Scopes: scopes, ResourceID: resource})
	if err != nil {
		return err
	}
	return a.print(e, func(w io.Writer) { fmt.Fprint(w, e) })
}

func (a *app) logCommand() *cobra.Command {
	return a.onAccount("log", "Print what the service decided about token requests of this device", func(ctx context.Context, m *machine, acct broker.Account) error {
		all, err := m.broker.SignInLog(ctx, acct)
		if err != nil {
			return err
		}
		if all == nil {
			all = []broker.Decision{}
		}
		return a.print(all, func(w io.Writer) {
			t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "TIME\tOUTCOME\tCODE\tMFA\tRESOURCE\tCORRELATION ID")
			for _, d := range all {
				code := "-"
				if d.Code != 0 {
					code = fmt.Sprintf("AADSTS%d", d.Code)
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", d.Time.UTC().Format("2006-01-02 15:04:05"), d.Outcome, code, d.MFA, firstOf(d.Resource, "-"), firstOf(d.CorrelationID, "-"))
			}
			_ = t.Flush()
		})
	})
}
