package entratest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// signIn is the code under test: it knows nothing of the emulator.
func signIn(client *http.Client, tenant, username, password string) (string, error) {
	resp, err := client.PostForm("https://login.microsoftonline.com/"+tenant+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"password"}, "client_id": {payrollID}, "scope": {"api://payroll/.default"},
		"username": {username}, "password": {password},
	})
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var reply struct {
		AccessToken string `json:"access_token"`
		Description string `json:"error_description"`
		Codes       []int  `json:"error_codes"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&reply); err != nil {
		return "", err
	}
	if len(reply.Codes) > 0 {
		return "", fmt.Errorf("AADSTS%d", reply.Codes[0])
	}
	return reply.AccessToken, nil
}

// The server plays a tenant with one user and one app. The policy makes the
// second sign-in fail.
func ExampleNewServer() {
	srv := entratest.NewServer(entratest.Options{
		Users: []entratest.User{{Username: "alice", Password: "correct horse", TOTPSecret: "JBSWY3DPEHPK3PXP"}},
		Apps:  []entratest.App{{ClientID: payrollID, Public: true, URIs: []string{"api://payroll"}}},
	})
	defer srv.Close()

	token, err := signIn(srv.Client(), srv.TenantID(), "alice@contoso.example", "correct horse")
	fmt.Println(token != "", err)

	err = srv.SetPolicies(json.RawMessage(`{"displayName": "Payroll needs MFA", "state": "enabled",
		"conditions": {"clientAppTypes": ["all"], "users": {"includeUsers": ["All"]},
			"applications": {"includeApplications": ["11111111-2222-4333-8444-555555555555"]}},
		"grantControls": {"operator": "OR", "builtInControls": ["mfa"]}}`))
	if err != nil {
		fmt.Println(err)
	}
	_, err = signIn(srv.Client(), srv.TenantID(), "alice@contoso.example", "correct horse")
	fmt.Println(err)
	log := srv.SignIns()
	last := log[len(log)-1]
	fmt.Println(last.Username, last.Policies[0].Name, last.Policies[0].Result)
	// Output:
	// true <nil>
	// AADSTS50076
	// alice@contoso.example Payroll needs MFA failure
}

// The code of the package documentation.
func TestExample(t *testing.T) {
	const app, redirect = payrollID, "http://localhost"
	policies := json.RawMessage(`[]`)
	clock := entratest.NewClock(time.Time{})
	srv := entratest.NewTB(t, entratest.Options{
		Clock:    clock,
		Users:    []entratest.User{{Username: "alice", Password: "correct horse", TOTPSecret: "JBSWY3DPEHPK3PXP"}},
		Apps:     []entratest.App{{ClientID: app, Public: true, Redirects: []string{redirect}, URIs: []string{"api://payroll"}}},
		Policies: policies, // Conditional Access, as Microsoft Graph exports it
	})
	client := srv.Client() // for https://login.microsoftonline.com/… and the other hosts
	_, err := signIn(client, srv.Domain(), "alice@contoso.example", "correct horse")
	require.NoError(t, err)
	require.Equal(t, clock.Now(), srv.Now())
}

// A Person signs in on the pages, with a one-time code when it is asked.
func ExamplePerson() {
	srv := entratest.NewServer(entratest.Options{
		Clock: entratest.NewClock(time.Time{}),
		Users: []entratest.User{{Username: "alice", Password: "correct horse", TOTPSecret: "JBSWY3DPEHPK3PXP"}},
		Apps:  []entratest.App{{ClientID: payrollID, Public: true, Redirects: []string{"http://localhost"}}},
	})
	defer srv.Close()
	alice := entratest.Person{Username: "alice@contoso.example", Password: "correct horse", TOTPSecret: "JBSWY3DPEHPK3PXP"}
	redirected, err := alice.Authorize(context.Background(), srv.Client(),
		"https://login.microsoftonline.com/common/oauth2/authorize?response_type=code&client_id="+payrollID+
			"&redirect_uri=http://localhost&amr_values=mfa&state=42", "http://localhost")
	if err != nil {
		fmt.Println(err)
		return
	}
	u, _ := url.Parse(redirected)
	fmt.Println(u.Host, u.Query().Get("state"), u.Query().Get("code") != "")
	for _, e := range srv.SignIns() {
		fmt.Println(e.Grant, e.Username, e.AMR, e.MFAPrompts)
	}
	// Output:
	// localhost 42 true
	// authorize alice@contoso.example [pwd mfa] 1
}

// signInAs signs a person in on the pages, with MFA, and says how the log shows
// it.
func signInAs(srv *entratest.Server, p entratest.Person) {
	_, err := p.Authorize(context.Background(), srv.Client(),
		"https://login.microsoftonline.com/common/oauth2/authorize?response_type=code&client_id="+payrollID+
			"&redirect_uri=http://localhost&amr_values=mfa", "http://localhost")
	if err != nil {
		fmt.Println(err)
		return
	}
	log := srv.SignIns()
	fmt.Println(log[len(log)-1].AMR)
}

// phoneServer is a tenant whose user has a telephone.
func phoneServer() *entratest.Server {
	return entratest.NewServer(entratest.Options{
		Clock: entratest.NewClock(time.Time{}),
		Users: []entratest.User{{Username: "pia", Password: "correct horse", Phone: "+41 79 123 45 67"}},
		Apps:  []entratest.App{{ClientID: payrollID, Public: true, Redirects: []string{"http://localhost"}}},
	})
}

// The test reads the text message that the page asks for.
func ExampleServer_SMSCode() {
	srv := phoneServer()
	defer srv.Close()
	signInAs(srv, entratest.Person{Username: "pia@contoso.example", Password: "correct horse",
		ReadSMS: func(context.Context) (string, error) {
			code, sent := srv.SMSCode("pia")
			fmt.Println(len(code), sent)
			return code, nil
		}})
	// Output:
	// 6 true
	// [pwd mfa]
}

// Whoever declines the call, or lets it ring, is not signed in.
func ExampleServer_AnswerCall() {
	srv := phoneServer()
	defer srv.Close()
	for _, approve := range []bool{true, false} {
		signInAs(srv, entratest.Person{Username: "pia@contoso.example", Password: "correct horse",
			AnswerCall: func(context.Context) error {
				fmt.Println(srv.AnswerCall("pia", approve))
				return nil
			}})
	}
	// Output:
	// true
	// [pwd mfa]
	// true
	// entratest: sign-in page: AADSTS500121: Authentication failed during strong authentication request.
}

// A certificate signs in by TLS, until it is revoked.
func ExampleServer_IssueUserCertificate() {
	srv := phoneServer()
	defer srv.Close()
	card, err := srv.IssueUserCertificate("pia", true)
	if err != nil {
		fmt.Println(err)
		return
	}
	pia := entratest.Person{Username: "pia@contoso.example", Certificate: &card}
	signInAs(srv, pia)
	if err := srv.RevokeUserCertificate(card.Leaf); err != nil {
		fmt.Println(err)
	}
	signInAs(srv, pia)
	// Output:
	// [rsa mfa]
	// entratest: sign-in page: AADSTS500183: AADSTS500183: Certificate has been revoked. Please contact your administrator.
}

// An expired password is changed on the way.
func ExampleServer_ExpirePassword() {
	srv := phoneServer()
	defer srv.Close()
	if err := srv.ExpirePassword("pia"); err != nil {
		fmt.Println(err)
	}
	pia := entratest.Person{Username: "pia@contoso.example", Password: "correct horse",
		ReadSMS: func(context.Context) (string, error) { code, _ := srv.SMSCode("pia"); return code, nil }}
	signInAs(srv, pia)
	pia.NewPassword = "battery staple"
	signInAs(srv, pia)
	// Output:
	// entratest: sign-in page: AADSTS50055: the person must change the password and does not want to
	// [pwd mfa]
}

// The second call of the token endpoint is throttled.
func ExampleServer_AddFault() {
	srv := entratest.NewServer(entratest.Options{
		Users: []entratest.User{{Username: "alice", Password: "correct horse"}},
		Apps:  []entratest.App{{ClientID: payrollID, Public: true, URIs: []string{"api://payroll"}}},
	})
	defer srv.Close()
	srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.Throttle, Nth: 2, RetryAfter: 10 * time.Second})
	for range 3 {
		_, err := signIn(srv.Client(), srv.TenantID(), "alice@contoso.example", "correct horse")
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// AADSTS90055
	// <nil>
}

func ExampleClock() {
	clock := entratest.NewClock(time.Time{})
	clock.Advance(14 * 24 * time.Hour)
	fmt.Println(clock.Now().Format(time.RFC3339))
	// Output: 2026-03-16T09:00:00Z
}
