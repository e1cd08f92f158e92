package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

// persona is who signs in, as a person writes it.
type persona struct {
	Name         string   `json:"name,omitempty"` // in personas.json only
	ID           string   `json:"id,omitempty"`
	Kind         string   `json:"kind,omitempty"` // "": person
	Groups       []string `json:"groups,omitempty"`
	Roles        []string `json:"roles,omitempty"` // names or template ids
	Guest        string   `json:"guest,omitempty"` // "": a member
	HomeTenant   string   `json:"homeTenant,omitempty"`
	MFATrust     bool     `json:"mfaTrust,omitempty"`
	DeviceTrust  bool     `json:"deviceTrust,omitempty"`
	GuestAccount bool     `json:"guestAccount,omitempty"` // a B2B direct connect user who is a guest here too
	MultiTenant  bool     `json:"multiTenant,omitempty"`  // a workload of another tenant's application, or a managed identity
	Blueprint    string   `json:"blueprint,omitempty"`    // of an agent
	Attributes   []string `json:"attributes,omitempty"`   // custom security attributes: Set_Name=value
}

// attempt is one sign-in, as a person writes it. Every "" means the default
// that the flag of the same name documents.
type attempt struct {
	Name     string   `json:"name,omitempty"`     // in personas.json only
	Personas []string `json:"personas,omitempty"` // whose; nil: everybody's
	Expect   string   `json:"expect,omitempty"`   // grant, interrupt, block; "": anything

	App              string   `json:"app,omitempty"`
	AppAttributes    []string `json:"appAttributes,omitempty"`
	AgentResource    bool     `json:"agentResource,omitempty"`
	Action           string   `json:"action,omitempty"`
	AuthContext      string   `json:"authContext,omitempty"`
	Traffic          string   `json:"traffic,omitempty"`
	ClientApp        string   `json:"clientApp,omitempty"`
	Platform         string   `json:"platform,omitempty"`
	Flow             string   `json:"flow,omitempty"`
	AgentEndpoint    bool     `json:"agentEndpoint,omitempty"`
	IP               string   `json:"ip,omitempty"`
	Country          string   `json:"country,omitempty"`
	GPSCountry       string   `json:"gpsCountry,omitempty"`
	CompliantNetwork bool     `json:"compliantNetwork,omitempty"`
	Locations        []string `json:"locations,omitempty"`
	Device           string   `json:"device,omitempty"`
	Methods          string   `json:"methods,omitempty"`
	Available        string   `json:"available,omitempty"`
	AAGUID           string   `json:"aaguid,omitempty"`
	CertIssuer       string   `json:"certIssuer,omitempty"`
	CertPolicies     []string `json:"certPolicies,omitempty"`
	Risk             string   `json:"risk,omitempty"`
	UserRisk         string   `json:"userRisk,omitempty"`
	InsiderRisk      string   `json:"insiderRisk,omitempty"`
	AcceptedTerms    []string `json:"acceptedTerms,omitempty"`
	CustomFactors    []string `json:"customFactors,omitempty"`
	PasswordChanged  bool     `json:"passwordChanged,omitempty"`
	RiskRemediated   bool     `json:"riskRemediated,omitempty"`
	ApprovedApp      bool     `json:"approvedApp,omitempty"`
	ProtectedApp     bool     `json:"protectedApp,omitempty"`
	Scopes           []string `json:"scopes,omitempty"`
	Confidential     bool     `json:"confidential,omitempty"`
	Bound            bool     `json:"bound,omitempty"`
	Background       bool     `json:"background,omitempty"`
	Age              string   `json:"age,omitempty"`
	MFAAge           string   `json:"mfaAge,omitempty"`
}

// signIn puts the two together for policy. Every error is one sentence
// without its full stop.
func (t *tenant) signIn(p persona, a attempt, now time.Time) (*policy.SignIn, error) {
	user, err := t.user(p)
	if err != nil {
		return nil, err
	}
	in := &policy.SignIn{
		User:              user,
		Scopes:            policy.ScopesOf(a.Scopes),
		Confidential:      a.Confidential,
		Bound:             a.Bound,
		Background:        a.Background,
		AgentResource:     a.AgentResource,
		AgentEndpointUser: a.AgentEndpoint,
		CompliantNetwork:  a.CompliantNetwork,
		AAGUID:            a.AAGUID,
		CertIssuerSKI:     a.CertIssuer,
		CertPolicyOIDs:    a.CertPolicies,
		AcceptedTerms:     a.AcceptedTerms,
		CustomFactors:     a.CustomFactors,
		PasswordChanged:   a.PasswordChanged,
		RiskRemediated:    a.RiskRemediated,
		ApprovedApp:       a.ApprovedApp,
		ProtectedApp:      a.ProtectedApp,
		Locations:         t.set.Symbols(nil, a.Locations),
		Now:               now,
	}
	if in.AppAttributes, err = attributes(a.AppAttributes); err != nil {
		return nil, err
	}
	steps := []func(*policy.SignIn, attempt) error{t.setTarget, setClient, setPlace, setRisk, setDevice, setProof}
	for _, step := range steps {
		if err := step(in, a); err != nil {
			return nil, err
		}
	}
	return in, nil
}

func (t *tenant) user(p persona) (*policy.User, error) {
	if p.ID == "" {
		return nil, errors.New("no user: use -user ID (in a matrix: the persona's id)")
	}
	u := &policy.User{
		ID: p.ID, Groups: p.Groups, HomeTenant: p.HomeTenant,
		MFATrust: p.MFATrust, DeviceTrust: p.DeviceTrust, MultiTenant: p.MultiTenant,
		GuestAccount: p.GuestAccount, Blueprint: p.Blueprint,
	}
	var err error
	if u.Attributes, err = attributes(p.Attributes); err != nil {
		return nil, err
	}
	if u.Kind, err = choose("kind of identity", p.Kind, identities); err != nil {
		return nil, err
	}
	if u.Guest, err = choose("type of external user", p.Guest, guests); err != nil {
		return nil, err
	}
	for _, r := range p.Roles {
		id, err := roleID(r)
		if err != nil {
			return nil, err
		}
		u.Roles = append(u.Roles, id)
	}
	return u, nil
}

// attributes reads Set_Name=value; a name given twice has two values.
func attributes(given []string) (out []policy.Attribute, err error) {
	for _, s := range given {
		name, value, ok := strings.Cut(s, "=")
		if !ok || !strings.Contains(name, "_") {
			return nil, fmt.Errorf("%q is not a custom security attribute: write it as Set_Name=value", s)
		}
		i := slices.IndexFunc(out, func(a policy.Attribute) bool { return strings.EqualFold(a.Name, name) })
		if i < 0 {
			out = append(out, policy.Attribute{Name: name, Values: []string{value}})
			continue
		}
		out[i].Values, out[i].Multiple = append(out[i].Values, value), true
	}
	return out, nil
}

func (t *tenant) setTarget(in *policy.SignIn, a attempt) (err error) {
	given := 0
	for _, s := range []string{a.App, a.Action, a.AuthContext, a.Traffic} {
		if s != "" {
			given++
		}
	}
	if given != 1 {
		return errors.New("no target: use one of -app, -action, -auth-context and -traffic")
	}
	if a.App != "" {
		in.AppID, err = t.names.appID(a.App)
		return err
	}
	if a.Action != "" {
		in.Action, err = choose("user action", a.Action, actions)
		return err
	}
	if a.Traffic != "" {
		in.Traffic, err = choose("traffic profile", a.Traffic, profiles)
		return err
	}
	n, err := strconv.Atoi(strings.TrimPrefix(a.AuthContext, "c"))
	if err != nil || n < 1 || n > 99 {
		return fmt.Errorf("%q is not an authentication context: those are c1 to c99", a.AuthContext)
	}
	in.AuthContext = n
	return nil
}

func setClient(in *policy.SignIn, a attempt) (err error) {
	if in.ClientApp, err = choose("type of client", a.ClientApp, clientApps); err != nil {
		return err
	}
	if in.Platform, err = choose("platform", a.Platform, platforms); err != nil {
		return err
	}
	in.Flow, err = choose("flow", a.Flow, flows)
	return err
}

func setPlace(in *policy.SignIn, a attempt) (err error) {
	if a.IP != "" {
		if in.IP, err = netip.ParseAddr(a.IP); err != nil {
			return fmt.Errorf("%q is not an IP address", a.IP)
		}
	}
	if in.Country, err = country(a.Country); err != nil {
		return err
	}
	in.GPSCountry, err = country(a.GPSCountry)
	return err
}

func country(s string) (string, error) {
	if s == "" || s == policy.UnknownCountry {
		return s, nil
	}
	c := strings.ToUpper(s)
	if len(c) != 2 || c[0] < 'A' || c[0] > 'Z' || c[1] < 'A' || c[1] > 'Z' {
		return "", fmt.Errorf("%q is not a two-letter country code", s)
	}
	return c, nil
}

func setRisk(in *policy.SignIn, a attempt) (err error) {
	risk, err := choose("risk level", a.Risk, risks)
	if err != nil {
		return err
	}
	switch in.User.Kind {
	case policy.IdentityWorkload:
		in.ServicePrincipalRisk = risk
	case policy.IdentityAgent, policy.IdentityAgentUser:
		in.AgentRisk = risk
	default:
		in.SignInRisk = risk
	}
	if in.UserRisk, err = choose("risk level", a.UserRisk, risks); err != nil {
		return err
	}
	in.InsiderRisk, err = choose("insider risk level", a.InsiderRisk, insiderRisks)
	return err
}

func setProof(in *policy.SignIn, a attempt) (err error) {
	if in.Methods, err = methods(a.Methods); err != nil {
		return err
	}
	if a.Available != "" {
		if in.Available, err = methods(a.Available); err != nil {
			return err
		}
	}
	age, err := since(a.Age)
	if err != nil {
		return err
	}
	in.AuthTime = in.Now.Add(-age)
	if a.MFAAge == "" {
		return nil
	}
	if age, err = since(a.MFAAge); err != nil {
		return err
	}
	in.MFATime = in.Now.Add(-age)
	return nil
}

func since(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not an age: write it as 90m or 36h", s)
	}
	return d, nil
}

// methods reads names of methods, with the short ones people use.
func methods(s string) (m claims.Methods, err error) {
	switch strings.ToLower(s) {
	case "":
		return claims.Password, nil
	case "none":
		return 0, nil
	}
	for name := range strings.SplitSeq(s, ",") {
		name = strings.TrimSpace(name)
		bit, ok := claims.ParseMode(name)
		if !ok {
			bit, ok = alias(name)
		}
		if !ok {
			return 0, fmt.Errorf("%q is not a known authentication method; use none, or some of %s", name, strings.Join(append(aliasNames(), modeNames()...), ", "))
		}
		m |= bit
	}
	return m, nil
}

func alias(name string) (claims.Methods, bool) {
	for _, w := range methodAliases {
		if strings.EqualFold(w.name, name) {
			return w.value, true
		}
	}
	return 0, false
}

func aliasNames() (names []string) {
	for _, w := range methodAliases {
		names = append(names, w.name)
	}
	return names
}
