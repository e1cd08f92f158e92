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
	Name        string   `json:"name"` // in personas.json only
	ID          string   `json:"id"`
	Kind        string   `json:"kind"` // "": person
	Groups      []string `json:"groups"`
	Roles       []string `json:"roles"` // names or template ids
	Guest       string   `json:"guest"` // "": a member
	HomeTenant  string   `json:"homeTenant"`
	MFATrust    bool     `json:"mfaTrust"`
	DeviceTrust bool     `json:"deviceTrust"`
}

// attempt is one sign-in, as a person writes it. Every "" means the default
// that the flag of the same name documents.
type attempt struct {
	Name     string   `json:"name"`     // in personas.json only
	Personas []string `json:"personas"` // whose; nil: everybody's
	Expect   string   `json:"expect"`   // grant, interrupt, block; "": anything

	App              string   `json:"app"`
	Action           string   `json:"action"`
	AuthContext      string   `json:"authContext"`
	ClientApp        string   `json:"clientApp"`
	Platform         string   `json:"platform"`
	Flow             string   `json:"flow"`
	IP               string   `json:"ip"`
	Country          string   `json:"country"`
	GPSCountry       string   `json:"gpsCountry"`
	CompliantNetwork bool     `json:"compliantNetwork"`
	Device           string   `json:"device"`
	Methods          string   `json:"methods"`
	AAGUID           string   `json:"aaguid"`
	Risk             string   `json:"risk"`
	UserRisk         string   `json:"userRisk"`
	InsiderRisk      string   `json:"insiderRisk"`
	AcceptedTerms    []string `json:"acceptedTerms"`
	ApprovedApp      bool     `json:"approvedApp"`
	ProtectedApp     bool     `json:"protectedApp"`
	LowPrivilege     bool     `json:"lowPrivilege"`
	Age              string   `json:"age"`
	MFAAge           string   `json:"mfaAge"`
}

// signIn puts the two together for policy. Every error is one sentence
// without its full stop.
func (t *tenant) signIn(p persona, a attempt, now time.Time) (*policy.SignIn, error) {
	user, err := t.user(p)
	if err != nil {
		return nil, err
	}
	in := &policy.SignIn{
		User:               user,
		LowPrivilegeScopes: a.LowPrivilege,
		CompliantNetwork:   a.CompliantNetwork,
		AAGUID:             a.AAGUID,
		AcceptedTerms:      a.AcceptedTerms,
		ApprovedApp:        a.ApprovedApp,
		ProtectedApp:       a.ProtectedApp,
		Now:                now,
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
		return nil, errors.New("say who signs in: -user ID (in a matrix: the persona's id)")
	}
	u := &policy.User{
		ID: p.ID, Groups: p.Groups, HomeTenant: p.HomeTenant,
		MFATrust: p.MFATrust, DeviceTrust: p.DeviceTrust,
	}
	var err error
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

func (t *tenant) setTarget(in *policy.SignIn, a attempt) (err error) {
	given := 0
	for _, s := range []string{a.App, a.Action, a.AuthContext} {
		if s != "" {
			given++
		}
	}
	if given != 1 {
		return errors.New("say what is signed in to: one of -app, -action and -auth-context")
	}
	if a.App != "" {
		in.AppID, err = t.names.appID(a.App)
		return err
	}
	if a.Action != "" {
		in.Action, err = choose("user action", a.Action, actions)
		return err
	}
	n, err := strconv.Atoi(strings.TrimPrefix(a.AuthContext, "c"))
	if err != nil || n < 1 || n > 99 {
		return fmt.Errorf("%q is no authentication context: c1 to c99", a.AuthContext)
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
		return "", fmt.Errorf("%q is no two-letter country code", s)
	}
	return c, nil
}

func setRisk(in *policy.SignIn, a attempt) (err error) {
	risk, err := choose("risk level", a.Risk, risks)
	if err != nil {
		return err
	}
	switch in.User.Kind {
	case policy.Workload:
		in.ServicePrincipalRisk = risk
	case policy.Agent, policy.AgentUser:
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
		return 0, fmt.Errorf("%q is no age: write it as 90m or 36h", s)
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
			bit, err = choose("authentication method", name, methodAliases)
		}
		if err != nil {
			return 0, err
		}
		m |= bit
	}
	return m, nil
}

// setDevice reads "hybrid,compliant,model=Surface": words for what most rules
// ask, and any property by its name in filter rules.
func setDevice(in *policy.SignIn, a attempt) error {
	if a.Device == "" || strings.EqualFold(a.Device, "none") || strings.EqualFold(a.Device, "unregistered") {
		return nil
	}
	d := &policy.Device{ID: "device", TrustType: policy.Registered}
	for fact := range strings.SplitSeq(a.Device, ",") {
		fact = strings.TrimSpace(fact)
		name, value, isProperty := strings.Cut(fact, "=")
		if isProperty {
			if err := setProperty(d, name, value); err != nil {
				return err
			}
			continue
		}
		i := slices.IndexFunc(deviceWords, func(w deviceWord) bool { return strings.EqualFold(w.word, fact) })
		if i < 0 {
			return fmt.Errorf("%q says nothing about a device: it is registered, joined, hybrid, compliant, noncompliant, company, personal or property=value", fact)
		}
		deviceWords[i].set(d)
	}
	in.Device = d
	return nil
}

type deviceWord struct {
	word string
	set  func(*policy.Device)
}

var deviceWords = []deviceWord{
	{"registered", func(d *policy.Device) { d.TrustType = policy.Registered }},
	{"joined", func(d *policy.Device) { d.TrustType = policy.Joined }},
	{"hybrid", func(d *policy.Device) { d.TrustType = policy.Hybrid }},
	{"compliant", func(d *policy.Device) { d.Compliant = policy.Yes }},
	{"noncompliant", func(d *policy.Device) { d.Compliant = policy.No }},
	{"company", func(d *policy.Device) { d.Ownership = "Company" }},
	{"personal", func(d *policy.Device) { d.Ownership = "Personal" }},
}

func setProperty(d *policy.Device, name, value string) error {
	if n, ok := strings.CutPrefix(strings.ToLower(name), "extensionattribute"); ok {
		i, err := strconv.Atoi(n)
		if err != nil || i < 1 || i > len(d.ExtensionAttributes) {
			return fmt.Errorf("%q is no property of a device", name)
		}
		d.ExtensionAttributes[i-1] = value
		return nil
	}
	for _, p := range []struct {
		name string
		to   *string
	}{
		{"deviceId", &d.ID}, {"displayName", &d.DisplayName}, {"manufacturer", &d.Manufacturer},
		{"enrollmentProfileName", &d.EnrollmentProfileName}, {"mdmAppId", &d.MDMAppID}, {"model", &d.Model},
		{"operatingSystem", &d.OperatingSystem}, {"operatingSystemVersion", &d.OperatingSystemVersion},
		{"deviceOwnership", &d.Ownership}, {"profileType", &d.ProfileType},
	} {
		if strings.EqualFold(p.name, name) {
			*p.to = value
			return nil
		}
	}
	switch strings.ToLower(name) {
	case "physicalids":
		d.PhysicalIDs = append(d.PhysicalIDs, value)
	case "systemlabels":
		d.SystemLabels = append(d.SystemLabels, value)
	default:
		return fmt.Errorf("%q is no property of a device", name)
	}
	return nil
}
