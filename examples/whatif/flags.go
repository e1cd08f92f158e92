package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
)

func parseFlags(args []string, stderr io.Writer) (config, error) {
	var c config
	f := newFlags()
	f.StringVar(&c.policies, "policies", "", "the `folder` of exported policies, named locations and authentication strengths (JSON)")
	f.StringVar(&c.matrix, "matrix", "", "evaluate the personas and sign-ins of this `file`, instead of one sign-in")
	f.BoolVar(&c.permute, "permute", false, "evaluate every combination of what the policies name, instead of one sign-in")
	f.StringVar(&c.html, "html", "", "with -matrix or -permute: write the report to this `file`")
	f.BoolVar(&c.json, "json", false, "print the answer as Graph's conditionalAccess/evaluate gives it")
	readingFlags(f, &c.reading)
	f.StringVar(&c.fetch.domain, "tenant", "", "fetch the export of this `domain` from Microsoft Graph into the folder of -o")
	f.StringVar(&c.fetch.folder, "o", "", "with -tenant: the `folder` to write, which must not exist yet")
	f.StringVar(&c.fetch.personas, "personas", "", "with -tenant: fetch the users and groups of the personas of this `file` too")
	f.StringVar(&c.fetch.client, "client", graphCommandLine, "with -tenant: the `id` of the application to sign in as")
	f.StringVar(&c.fetch.state, "state", "", "with -tenant: a `folder` of a broker's state, whose PRT is used before a device code")
	personaFlags(f, &c.persona)
	attemptFlags(f, &c.attempt)
	return c, parse(f, args, stderr, usage, func() error { return c.check(f) })
}

const usage = `usage: whatif -policies DIR -user ID -app APP [flags]
       whatif -policies DIR -matrix personas.json [-html report.html]
       whatif -policies DIR -permute [-html report.html]
       whatif diff OLD NEW [flags]
       whatif -tenant DOMAIN -o DIR
`

func newFlags() *flag.FlagSet {
	f := flag.NewFlagSet("whatif", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	return f
}

func parse(f *flag.FlagSet, args []string, stderr io.Writer, usage string, check func() error) error {
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			f.SetOutput(stderr)
			fmt.Fprint(stderr, usage, "\nflags:\n")
			f.PrintDefaults()
		}
		return err
	}
	return check()
}

// readingFlags say how an export is read.
func readingFlags(f *flag.FlagSet, r *reading) {
	f.BoolVar(&r.failClosed, "fail-closed", false, "block when a policy that may apply cannot be evaluated")
	f.Func("trusted-ip", "a `prefix` of the MFA trusted IPs (repeatable)", func(s string) error {
		p, err := netip.ParsePrefix(s)
		r.trustedIPs = append(r.trustedIPs, p)
		return err
	})
	f.Var(stateFlag{&r.states.asEnabled}, "as-enabled", "evaluate disabled and report-only policies as enabled; -as-enabled=report-only or =disabled only those")
	f.StringVar(&r.states.file, "state-of", "", "take the states of policies from this `file`: names or ids and states, or another export")
}

func (c *config) check(f *flag.FlagSet) error {
	if f.NArg() > 0 {
		return fmt.Errorf("%q is one argument too many; everything is a flag", f.Arg(0))
	}
	if c.fetch.domain != "" {
		return c.fetch.check(f)
	}
	for _, name := range []string{"o", "personas", "client", "state"} {
		if given(f, name) {
			return fmt.Errorf("-%s is only for -tenant", name)
		}
	}
	if c.policies == "" {
		return errors.New("no export: use -policies DIR")
	}
	source := ""
	switch {
	case c.matrix != "" && c.permute:
		return errors.New("-matrix and -permute are two ways to find sign-ins: use one")
	case c.matrix != "":
		source = "with -matrix the sign-ins come from " + c.matrix
	case c.permute:
		source = "with -permute the sign-ins come from the policies"
	case c.html != "":
		return errors.New("-html needs -matrix or -permute: the report shows many sign-ins")
	default:
		return nil
	}
	return strayFlag(f, source, "policies", "matrix", "permute", "html", "fail-closed", "trusted-ip", "as-enabled", "state-of")
}

// strayFlag finds a flag that describes one sign-in where many are judged.
func strayFlag(f *flag.FlagSet, source string, allowed ...string) (err error) {
	f.Visit(func(fl *flag.Flag) {
		if !slices.Contains(allowed, fl.Name) {
			err = fmt.Errorf("-%s describes one sign-in; %s", fl.Name, source)
		}
	})
	return err
}

func given(f *flag.FlagSet, name string) (yes bool) {
	f.Visit(func(fl *flag.Flag) { yes = yes || fl.Name == name })
	return yes
}

func personaFlags(f *flag.FlagSet, p *persona) {
	f.StringVar(&p.ID, "user", "", "object `id` of who signs in (a workload's: of its service principal)")
	f.StringVar(&p.Kind, "kind", "", "what kind of `identity`: person (default), workload, agent, agentUser")
	f.Var(list{&p.Groups}, "group", "`id` of a group the user is in, nested ones too (repeatable)")
	f.Var(list{&p.Roles}, "role", "`role` the user holds, by name or template id (repeatable)")
	f.StringVar(&p.Guest, "guest", "", "`type` of an external user, such as b2bCollaborationGuest")
	f.StringVar(&p.HomeTenant, "home-tenant", "", "tenant `id` of an external user")
	f.BoolVar(&p.MFATrust, "mfa-trust", false, "an external user's MFA at home counts")
	f.BoolVar(&p.DeviceTrust, "device-trust", false, "an external user's device at home counts")
	f.BoolVar(&p.GuestAccount, "guest-account", false, "a B2B direct connect user has a guest account here too")
	f.StringVar(&p.Blueprint, "blueprint", "", "`id` of the blueprint that an agent comes from")
	f.BoolVar(&p.MultiTenant, "multi-tenant", false, "a workload of another tenant's application, or a managed identity")
	f.Var(list{&p.Attributes}, "attribute", "custom security `attribute` of a workload or agent, as Set_Name=value (repeatable)")
}

func attemptFlags(f *flag.FlagSet, a *attempt) {
	f.StringVar(&a.App, "app", "", "`application` that is signed in to: its client id, or exchange, sharepoint, teams, graph, azure …")
	f.StringVar(&a.Action, "action", "", "instead of -app a user `action`: registerSecurityInformation, registerOrJoinDevices")
	f.StringVar(&a.AuthContext, "auth-context", "", "instead of -app an authentication `context`: c1 … c99")
	f.StringVar(&a.Traffic, "traffic", "", "instead of -app a traffic `profile` of Global Secure Access: internet, m365, private")
	f.Var(list{&a.AppAttributes}, "app-attribute", "custom security `attribute` of the application, as Set_Name=value (repeatable)")
	f.BoolVar(&a.AgentResource, "agent-resource", false, "the application is an agent's")
	f.StringVar(&a.ClientApp, "client-app", "", "`type` of client: browser (default), mobileAppsAndDesktopClients, exchangeActiveSync, easSupported, other")
	f.StringVar(&a.Platform, "platform", "", "device `platform`: android, iOS, windows, windowsPhone, macOS, linux; not given: unknown")
	f.StringVar(&a.Flow, "flow", "", "`flow` the session began with: deviceCodeFlow, authenticationTransfer")
	f.BoolVar(&a.AgentEndpoint, "agent-endpoint", false, "an agent's user session that began on an endpoint")
	f.StringVar(&a.IP, "ip", "", "public `address` that Entra sees")
	f.StringVar(&a.Country, "country", "", "two-letter `country` of the address")
	f.StringVar(&a.GPSCountry, "gps-country", "", "two-letter `country` proved by Authenticator")
	f.BoolVar(&a.CompliantNetwork, "compliant-network", false, "through Global Secure Access")
	f.Var(list{&a.Locations}, "location", "`id` of a named location known to hold, as of service tags (repeatable)")
	f.StringVar(&a.Device, "device", "", "`facts` of a registered device: registered, joined or hybrid, managed, compliant or noncompliant, company or personal, and property=value; not given: unregistered")
	f.StringVar(&a.Methods, "methods", "", "authentication `methods` of the session: pwd (default), mfa, hello, fido2, sms, push, … or none")
	f.StringVar(&a.Available, "available", "", "`methods` the user could still use; not given: any")
	f.StringVar(&a.AAGUID, "aaguid", "", "`model` of the FIDO2 authenticator")
	f.StringVar(&a.Risk, "risk", "", "sign-in risk `level`: low, medium, high (of a workload or agent: its risk)")
	f.StringVar(&a.UserRisk, "user-risk", "", "user risk `level`")
	f.StringVar(&a.InsiderRisk, "insider-risk", "", "insider risk `level`: minor, moderate, elevated")
	f.Var(list{&a.AcceptedTerms}, "accepted-terms", "`id` of terms of use accepted before (repeatable)")
	f.StringVar(&a.CertIssuer, "cert-issuer", "", "subject key `identifier` of the certificate's issuer, hex")
	f.Var(list{&a.CertPolicies}, "cert-policy", "policy `OID` of the certificate (repeatable)")
	f.Var(list{&a.CustomFactors}, "custom-factor", "`name` of a custom control that is done (repeatable)")
	f.BoolVar(&a.PasswordChanged, "password-changed", false, "the password was changed in this session")
	f.BoolVar(&a.RiskRemediated, "risk-remediated", false, "the risk was remediated in this session")
	f.BoolVar(&a.ApprovedApp, "approved-app", false, "the client is an approved app")
	f.BoolVar(&a.ProtectedApp, "protected-app", false, "the client has an app protection policy")
	f.Var(list{&a.Scopes}, "scope", "`scope` that is asked for, as openid or User.Read (repeatable); not given: more than the baseline scopes")
	f.BoolVar(&a.Confidential, "confidential", false, "the client has a secret or a certificate; with nothing but openid and its like as -scope, -app is the client")
	f.BoolVar(&a.Bound, "bound", false, "the request is bound to the device, as token protection requires")
	f.BoolVar(&a.Background, "background", false, "a browser or a confidential client asks without its user")
	f.StringVar(&a.Age, "age", "", "how long ago the user authenticated, as 90m or 36h; not given: just now")
	f.StringVar(&a.MFAAge, "mfa-age", "", "how long ago MFA was done; not given: as -age")
}

// list is a flag that may be given often, and holds commas.
type list struct{ to *[]string }

func (l list) String() string {
	if l.to == nil {
		return ""
	}
	return strings.Join(*l.to, ",")
}

func (l list) Set(s string) error {
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			*l.to = append(*l.to, item)
		}
	}
	return nil
}
