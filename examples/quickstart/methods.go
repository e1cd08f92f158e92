package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
)

// -methods signs one user in with each method and requests tokens for apps
// with different requirements, to show which method satisfies what, as the
// service sees it through the PRT.

// An answer is the outcome of a silent token request.
type answer string

const (
	silent  answer = "silent"
	asked   answer = "asked"
	refused answer = "refused" // no prompt helps
)

// A demand is what a policy asks for, and when the token is asked for.
type demand struct {
	name  string
	app   int
	after time.Duration // since the sign-in
}

// The columns of the table. Each app has one policy.
var demands = []demand{
	{"mfa grant", 0, 0},
	{"MFA strength", 1, 0},
	{"passwordless", 2, 0},
	{"phishing-res.", 3, 0},
	{"custom", 4, 0},
	{"daily sign-in", 5, 0},
	{"mfa 2 h later", 0, 2 * time.Hour},
	{"daily a day later", 5, 25 * time.Hour},
}

// customStrength is the strength of the column "custom": codes beside a
// password, or a passkey.
var customStrength = []string{"password,softwareOath", "password,hardwareOath", "fido2"}

// A method is a row: how its user signs in, and what is then expected. The
// expectations come from the documentation (Microsoft Entra, "Conditional
// Access authentication strength", the table of built-in strengths; "Primary
// Refresh Token"), and the run is checked against them.
type method struct {
	name   string
	user   entratest.User // its name is derived from the row
	fed    bool           // of the federated domain
	mfa    bool           // the sign-in asks for a second factor
	person func(*methods, *entratest.Person) error
	// signIn replaces the sign-in on the page.
	signIn func(context.Context, *methods, *method) (broker.AuthResult, error)
	// morning happens before the last column.
	morning func(context.Context, *methods, *method) error
	want    string // an answer for each column: s, a or r

	account broker.Account
	amr     string
	got     []answer
}

func rows() []*method {
	const hardware = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
	return []*method{
		{name: "password", signIn: byPassword, want: "aaaaas" + "aa"},
		{name: "password + text message", mfa: true, user: entratest.User{Phone: "+49 30 901820"}, person: withPhone, want: "ssaaas" + "sa"},
		{name: "password + voice call", mfa: true, user: entratest.User{Phone: "+49 30 901820"}, person: withCall, want: "ssaaas" + "sa"},
		{name: "password + code of an app", mfa: true, user: entratest.User{TOTPSecret: totpSecret}, person: withCodes, want: "ssaass" + "sa"},
		{name: "password + code of a token", mfa: true, user: entratest.User{HardwareTOTP: hardware}, person: func(_ *methods, p *entratest.Person) error {
			p.HardwareTOTP = hardware
			return nil
		}, want: "ssaass" + "sa"},
		{name: "password + number match", mfa: true, user: entratest.User{NumberMatch: true}, person: withApp, want: "ssaaas" + "sa"},
		{name: "phone sign-in", user: entratest.User{PhoneSignIn: true}, person: func(m *methods, p *entratest.Person) error {
			p.PhoneSignIn = true
			return withApp(m, p)
		}, want: "sssaas" + "sa"},
		{name: "Hello PIN", user: entratest.User{TOTPSecret: totpSecret}, person: withCodes, signIn: byHello, want: "ssssas" + "sa"},
		{name: "Hello PIN, unlocked that day", user: entratest.User{TOTPSecret: totpSecret}, person: withCodes, signIn: byHello, morning: unlock, want: "ssssas" + "ss"},
		{name: "passkey (FIDO2)", person: withPasskey, want: "ssssss" + "sa"},
		{name: "access pass, one time", person: withPass(true), want: "ssaaas" + "aa"},
		{name: "access pass, multi-use", person: withPass(false), want: "ssaaas" + "aa"},
		{name: "certificate, single factor", person: withCertificate(false), want: "aaaaas" + "aa"},
		{name: "certificate, multifactor", person: withCertificate(true), want: "ssssas" + "sa"},
		{name: "federated password", fed: true, want: "aaaaas" + "aa"},
		{name: "federated MFA", fed: true, user: entratest.User{FederationTOTP: totpSecret}, person: withCodes, want: "ssaaas" + "sa"},
		{name: "federated + code of an app", fed: true, mfa: true, user: entratest.User{TOTPSecret: totpSecret}, person: withCodes, want: "ssaaas" + "sa"},
	}
}

// methods is a run of the table.
type methods struct {
	*story
	rows []*method
}

const (
	federatedDomain = "federated.example"
	helloPIN        = "271828"
)

// methodTable prints the table, and fails if it differs from the
// documentation.
func methodTable(ctx context.Context, o options, out io.Writer) (err error) {
	m := &methods{rows: rows()}
	s, cleanup, err := begin(ctx, o, out, m.tenant)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cleanup()) }()
	m.story = s
	if _, err := m.b.RegisterDevice(ctx, broker.RegisterRequest{Credential: broker.Password{Username: username, Password: password}}); err != nil {
		return err
	}
	for _, r := range m.rows {
		if err := m.begin(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	begun := m.clock.Now()
	for i, d := range demands {
		if wait := begun.Add(d.after).Sub(m.clock.Now()); wait > 0 {
			m.clock.Advance(wait)
		}
		for _, r := range m.rows {
			if err := m.ask(ctx, r, d, i == len(demands)-1); err != nil {
				return fmt.Errorf("%s, %s: %w", r.name, d.name, err)
			}
		}
	}
	m.print()
	return m.judge()
}

// tenant has the users of the rows and an app for each policy.
func (m *methods) tenant(clock *entratest.Clock) entratest.Options {
	o := tenantOptions(clock)
	o.Federated = []string{federatedDomain}
	for i, r := range m.rows {
		u := r.user
		u.Username, u.Password = r.username(i), password
		o.Users = append(o.Users, u)
		r.user.Username = u.Username
	}
	o.Apps = o.Apps[:1]
	for i := range 6 {
		o.Apps = append(o.Apps, entratest.App{ClientID: appID(i), URIs: []string{appURI(i)}})
	}
	o.Policies = mustJSON([]any{
		appPolicy(0, map[string]any{"builtInControls": []string{"mfa"}}, nil),
		appPolicy(1, strength("00000000-0000-0000-0000-000000000002"), nil),
		appPolicy(2, strength("00000000-0000-0000-0000-000000000003"), nil),
		appPolicy(3, strength("00000000-0000-0000-0000-000000000004"), nil),
		appPolicy(4, strength(policyID), nil),
		appPolicy(5, nil, map[string]any{"signInFrequency": map[string]any{
			"isEnabled": true, "type": "days", "value": 1, "frequencyInterval": "timeBased", "authenticationType": "primaryAndSecondaryAuthentication"}}),
		map[string]any{"id": policyID, "displayName": "Codes or passkeys", "policyType": "custom", "allowedCombinations": customStrength},
	})
	return o
}

func (r *method) username(i int) string {
	if r.fed {
		return fmt.Sprintf("user%02d@%s", i, federatedDomain)
	}
	return fmt.Sprintf("user%02d@%s", i, domain)
}

func appID(i int) string  { return fmt.Sprintf("0c6c1a54-6f5e-4a6b-8f5d-5f7d6a2b1d%02d", i) }
func appURI(i int) string { return fmt.Sprintf("api://app%d", i) }

func strength(id string) map[string]any {
	return map[string]any{"builtInControls": []string{}, "authenticationStrength": map[string]any{"id": id}}
}

func appPolicy(app int, grant, session map[string]any) map[string]any {
	p := map[string]any{
		"id": fmt.Sprintf("a1f4e6b2-3c5d-4e7f-8a9b-0c1d2e3f4a%02d", app), "displayName": demands[app].name, "state": "enabled",
		"conditions": map[string]any{
			"clientAppTypes": []string{"all"},
			"users":          map[string]any{"includeUsers": []string{"All"}},
			"applications":   map[string]any{"includeApplications": []string{appID(app)}},
		},
	}
	if grant != nil {
		grant["operator"] = "OR"
		p["grantControls"] = grant
	}
	if session != nil {
		p["sessionControls"] = session
	}
	return p
}

// begin signs the user of a row in.
func (m *methods) begin(ctx context.Context, r *method) error {
	m.page.person = entratest.Person{Username: r.user.Username, Password: password}
	if r.person != nil {
		if err := r.person(m, &m.page.person); err != nil {
			return err
		}
	}
	signIn := r.signIn
	if signIn == nil {
		signIn = onThePage
	}
	res, err := signIn(ctx, m, r)
	if err != nil {
		return err
	}
	r.account = res.Account
	st, err := m.b.PRTStatus(ctx, r.account)
	if err != nil {
		return err
	}
	r.amr = amrOf(st.MFA)
	return nil
}

// ask asks for a token and notes the answer.
func (m *methods) ask(ctx context.Context, r *method, d demand, last bool) error {
	if last && r.morning != nil {
		if err := r.morning(ctx, m, r); err != nil {
			return err
		}
	}
	_, err := m.b.AcquireTokenSilent(ctx, []string{appURI(d.app) + "/.default"}, broker.WithAccount(r.account), broker.WithForceRefresh())
	switch {
	case err == nil:
		r.got = append(r.got, silent)
	case errors.Is(err, broker.ErrInteractionRequired):
		r.got = append(r.got, asked)
	case errors.Is(err, broker.ErrBlocked):
		r.got = append(r.got, refused)
	default:
		return err
	}
	return nil
}

func (m *methods) print() {
	const first, amr = 30, 14
	fmt.Fprintf(m.out, "%-*s%-*s", first, "signed in with", amr, "amr of the PRT")
	for _, d := range demands {
		fmt.Fprintf(m.out, "  %s", d.name)
	}
	fmt.Fprintln(m.out)
	for _, r := range m.rows {
		line := fmt.Sprintf("%-*s%-*s", first, r.name, amr, r.amr)
		for i, a := range r.got {
			line += fmt.Sprintf("  %-*s", len(demands[i].name), a)
		}
		fmt.Fprintln(m.out, strings.TrimRight(line, " "))
	}
	fmt.Fprintf(m.out, "\nsilent: a token through the PRT, without a prompt. asked: the policy requires more.\ncustom: an authentication strength of %s.\n", strings.Join(customStrength, ", or "))
}

// judge checks the table against the documentation.
func (m *methods) judge() error {
	letters := map[rune]answer{'s': silent, 'a': asked, 'r': refused}
	var wrong []error
	for _, r := range m.rows {
		var want []answer
		for _, c := range r.want {
			want = append(want, letters[c])
		}
		if !slices.Equal(want, r.got) {
			wrong = append(wrong, fmt.Errorf("%s: documented is %v, got %v", r.name, want, r.got))
		}
	}
	return errors.Join(wrong...)
}

func onThePage(ctx context.Context, m *methods, r *method) (broker.AuthResult, error) {
	return m.b.SignIn(ctx, broker.AuthCode{LoginHint: r.user.Username, MFA: r.mfa})
}

func byPassword(ctx context.Context, m *methods, r *method) (broker.AuthResult, error) {
	return m.b.SignIn(ctx, broker.Password{Username: r.user.Username, Password: password})
}

func byHello(ctx context.Context, m *methods, r *method) (broker.AuthResult, error) {
	res, err := m.b.SignIn(ctx, broker.AuthCode{LoginHint: r.user.Username, MFA: true})
	if err != nil {
		return res, err
	}
	if err := m.b.ProvisionHello(ctx, res.Account, broker.PIN(helloPIN)); err != nil {
		return res, err
	}
	// The tokens of the password and code that the key was provisioned with
	// would answer where the key does not, but the row is about the key alone.
	if err := m.srv.Revoke(r.user.Username); err != nil {
		return res, err
	}
	m.clock.Advance(time.Second)
	return m.b.SignIn(ctx, broker.HelloPIN{PIN: broker.PIN(helloPIN)}, broker.WithAccount(res.Account))
}

func unlock(ctx context.Context, m *methods, r *method) error {
	_, err := m.b.Unlock(ctx, r.account, broker.PIN(helloPIN))
	return err
}

func withCodes(_ *methods, p *entratest.Person) error {
	p.TOTPSecret = totpSecret
	return nil
}

func withPhone(m *methods, p *entratest.Person) error {
	user := p.Username
	p.ReadSMS = func(context.Context) (string, error) {
		code, ok := m.srv.SMSCode(user)
		if !ok {
			return "", errors.New("no text message came")
		}
		return code, nil
	}
	return nil
}

func withCall(m *methods, p *entratest.Person) error {
	user := p.Username
	p.AnswerCall = func(context.Context) error {
		if !m.srv.AnswerCall(user, true) {
			return errors.New("the phone did not ring")
		}
		return nil
	}
	return nil
}

func withApp(m *methods, p *entratest.Person) error {
	user := p.Username
	p.Approve = func(_ context.Context, number int) error {
		if !m.srv.AnswerNumberMatch(user, number) {
			return errors.New("the app does not ask for a number")
		}
		return nil
	}
	return nil
}

func withPasskey(m *methods, p *entratest.Person) error {
	key, err := entratest.NewPasskey()
	if err != nil {
		return err
	}
	p.Passkey = key
	return m.srv.AddPasskey(p.Username, *key)
}

func withPass(once bool) func(*methods, *entratest.Person) error {
	return func(m *methods, p *entratest.Person) (err error) {
		p.AccessPass, err = m.srv.CreateAccessPass(p.Username, once)
		return err
	}
}

func withCertificate(multi bool) func(*methods, *entratest.Person) error {
	return func(m *methods, p *entratest.Person) error {
		cert, err := m.srv.IssueUserCertificate(p.Username, multi)
		p.Certificate, p.Password = &cert, "" // in place of a password, not beside one
		return err
	}
}
