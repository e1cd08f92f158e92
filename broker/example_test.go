package broker_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/policy"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

// exampleTenant is a tenant in the process, with a policy that asks for MFA
// where the app Payroll is used.
func exampleTenant() (*entratest.Server, broker.Config) {
	clock := entratest.NewClock(time.Time{})
	srv := entratest.NewServer(entratest.Options{
		Clock:          clock,
		Users:          []entratest.User{{Username: "alice", Password: password, TOTPSecret: totp}},
		Policies:       []byte(mfaForMoney),
		ReplicationLag: -1,
		Apps: []entratest.App{
			{ClientID: appID, Name: "The app", Public: true, Redirects: []string{native}, AdminConsent: true},
			{ClientID: payrollID, Name: "Payroll", URIs: []string{"api://payroll"}},
			{ClientID: ledgerID, Name: "Ledger", URIs: []string{"api://ledger"}},
		},
	})
	keys, err := softkeys.Open(softkeys.Secret([]byte("an example's secret, 32 bytes at least")))
	if err != nil {
		log.Fatal(err)
	}
	return srv, broker.Config{
		Tenant:    "contoso.example",
		App:       broker.App{ClientID: appID},
		Keys:      keys,
		Transport: srv.Client(),
		Now:       clock.Now,
		Prompter: &person{
			Person: entratest.Person{Username: alice, Password: password, TOTPSecret: totp},
			client: srv.Client(),
		},
		Device: broker.DeviceInfo{DisplayName: "pc-1", Type: "Linux", OSVersion: "Debian 12"},
	}
}

// The code of the package documentation, against an emulated tenant.
func Example() {
	srv := entratest.NewServer(entratest.Options{
		Users:          []entratest.User{{Username: "alice", Password: password}},
		Apps:           []entratest.App{{ClientID: appID, Public: true, Redirects: []string{native}, AdminConsent: true}},
		ReplicationLag: -1,
	})
	defer srv.Close()
	keys, err := softkeys.Open(softkeys.Secret([]byte("an example's secret, 32 bytes at least")))
	if err != nil {
		log.Fatal(err)
	}
	alice := &person{Person: entratest.Person{Username: alice, Password: password}, client: srv.Client()}
	if err := firstToken(context.Background(), srv.Domain(), broker.App{ClientID: appID}, keys, alice, srv.Transport()); err != nil {
		log.Fatal(err)
	}
	// Output: a token from the prt
}

func firstToken(ctx context.Context, tenant string, app broker.App, keys tpm.KeyStore, ui broker.Prompter, transport broker.Transport) error {
	cfg := broker.Config{Tenant: tenant, App: app, Keys: keys, Prompter: ui, Transport: transport}
	b, err := broker.New(ctx, cfg)
	if err != nil {
		return err
	}
	defer b.Close()
	if _, err := b.Enroll(ctx, broker.AuthCode{}, broker.EnrollRequest{}); err != nil { // once
		return err
	}
	scopes := []string{"https://graph.microsoft.com/User.Read"}
	token, err := b.AcquireTokenSilent(ctx, scopes) // every time
	if errors.Is(err, broker.ErrInteractionRequired) {
		token, err = b.AcquireTokenInteractive(ctx, scopes)
	}
	if err != nil {
		return err
	}
	fmt.Println("a token from the", token.Metadata.Source)
	return nil
}

// One prompt registers the device and signs in; the apps are silent from then
// on, those that require MFA too.
func ExampleBroker_Enroll() {
	srv, cfg := exampleTenant()
	defer srv.Close()
	ctx := context.Background()

	b, err := broker.New(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	if _, err := b.Enroll(ctx, broker.AuthCode{MFA: true}, broker.EnrollRequest{}); err != nil {
		log.Fatal(err)
	}
	for _, scope := range []string{"https://graph.microsoft.com/.default", "api://payroll/.default"} {
		res, err := b.AcquireTokenSilent(ctx, []string{scope})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(scope, "by", res.Metadata.Source)
	}
	// Output:
	// https://graph.microsoft.com/.default by prt
	// api://payroll/.default by prt
}

// A silent call that needs the user says so, with what to hand to the
// interactive one. Any other error is not for the user.
func ExampleBroker_AcquireTokenInteractive() {
	srv, cfg := exampleTenant()
	defer srv.Close()
	ctx := context.Background()
	b, err := broker.New(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	cred := broker.Password{Username: alice, Password: password}
	if _, err := b.Enroll(ctx, cred, broker.EnrollRequest{}); err != nil {
		log.Fatal(err)
	}

	scopes := []string{"api://payroll/.default"}
	res, err := b.AcquireTokenSilent(ctx, scopes)
	if errors.Is(err, broker.ErrInteractionRequired) {
		var e *broker.Error
		errors.As(err, &e)
		fmt.Println("asked:", e.Verdict, e.Code)
		res, err = b.AcquireTokenInteractive(ctx, scopes, broker.WithClaims(e.Claims))
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("MFA:", res.Metadata.MFA.MFA)

	// The new PRT carries the claim for every app.
	res, err = b.AcquireTokenSilent(ctx, []string{"api://ledger/.default"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("another app:", res.Metadata.Source)
	// Output:
	// asked: step-up 50076
	// MFA: yes
	// another app: prt
}

// Why was I not asked?
func ExampleBroker_Why() {
	srv, cfg := exampleTenant()
	defer srv.Close()
	ctx := context.Background()
	bundle, _, err := policy.Load(strings.NewReader(mfaForMoney))
	if err != nil {
		log.Fatal(err)
	}
	set, err := policy.Compile(bundle)
	if err != nil {
		log.Fatal(err)
	}
	cfg.Policies = func() *policy.Set { return set }
	b, err := broker.New(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	if _, err := b.Enroll(ctx, broker.AuthCode{MFA: true}, broker.EnrollRequest{}); err != nil {
		log.Fatal(err)
	}
	why, err := b.Why(ctx, broker.WhyInput{Scopes: []string{"api://payroll/.default"}, ResourceID: payrollID})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(why.Verdict)
	fmt.Println(why.Because)
	// Output:
	// silent
	// the PRT carries the MFA claim, earned 2026-03-02 09:00:00.000 UTC, and satisfies policy “MFA for money”
}

// What a PRT is and carries.
func ExampleBroker_PRTStatus() {
	srv, cfg := exampleTenant()
	defer srv.Close()
	ctx := context.Background()
	b, err := broker.New(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	res, err := b.Enroll(ctx, broker.Password{Username: alice, Password: password}, broker.EnrollRequest{})
	if err != nil {
		log.Fatal(err)
	}
	s, err := b.PRTStatus(ctx, res.Account)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Account.PreferredUsername, s.State)
	fmt.Println("with MFA:", s.MFA.MFA)
	fmt.Println("renewed after", s.RenewOn.Sub(s.RenewedOn))
	// Output:
	// alice@contoso.example fresh
	// with MFA: no
	// renewed after 4h0m0s
}

// A cookie for the sign-in page of the browser.
func ExampleBroker_SSOCookies() {
	srv, cfg := exampleTenant()
	defer srv.Close()
	ctx := context.Background()
	b, err := broker.New(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	if _, err := b.Enroll(ctx, broker.Password{Username: alice, Password: password}, broker.EnrollRequest{}); err != nil {
		log.Fatal(err)
	}
	cookies, err := b.SSOCookies(ctx, "https://login.microsoftonline.com/common/oauth2/authorize?client_id="+appID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(cookies[0].Name)
	_, err = b.SSOCookies(ctx, "https://login.example/")
	fmt.Println(err != nil)
	// Output:
	// x-ms-RefreshTokenCredential
	// true
}

// A result prints without its token.
func ExampleAuthResult() {
	res := broker.AuthResult{AccessToken: "eyJ0eXAi…", Metadata: broker.ResultMetadata{Source: broker.SourcePRT}}
	fmt.Println(strings.Contains(fmt.Sprint(res), "eyJ"), strings.Contains(fmt.Sprint(res), "[redacted]"))
	// Output: false true
}
