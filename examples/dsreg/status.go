package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/why"
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
		Use:   "why APP|SCOPE...",
		Short: "Say whether an app's token needs a prompt, and why",
		Long: `Why follows the chain from the registration of this device to the policies of the
tenant and says whether the user would be asked if the app of --app requested a
token for SCOPE, or for the application APP, given by its id or its URI. It makes
no request. With --policies it evaluates the tenant's Conditional Access policies,
as Microsoft Graph exports them; without, it goes by what the service said last.`,
		Example: "  dsreg why https://graph.microsoft.com/User.Read\n  dsreg why 0c6c1a54-6f5e-4a6b-8f5d-5f7d6a2b1c01 --policies export/",
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
	e, err := m.broker.Why(ctx, broker.WhyInput{Account: acct, Scopes: scopesOf(scopes), ResourceID: resource})
	if err != nil {
		return err
	}
	e.Because = strings.ReplaceAll(e.Because, "set ResourceID", "name it with --resource")
	return a.print(e, func(w io.Writer) { fmt.Fprint(w, e) })
}

var appID = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// scopesOf replaces a bare application with its scope /.default, which stands
// for all that it grants.
func scopesOf(args []string) []string {
	if len(args) != 1 {
		return args
	}
	u, err := url.Parse(args[0])
	whole := err == nil && u.Host != "" && (u.Path == "" || u.Path == "/")
	if whole || appID.MatchString(args[0]) {
		return []string{strings.TrimSuffix(args[0], "/") + "/.default"}
	}
	return args
}

func (a *app) logCommand() *cobra.Command {
	return a.onAccount("log", "Print what the service decided about token requests of this device", func(ctx context.Context, m *machine, acct broker.Account) error {
		all, err := m.broker.SignInLog(ctx, acct)
		if err != nil {
			return err
		}
		if all == nil {
			all = []why.Observation{}
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
