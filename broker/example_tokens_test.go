package broker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

// enrolledTenant stands for a tenant of Entra and a machine: alice is enrolled,
// and payroll is an app whose policy requires MFA.
func enrolledTenant() (*broker.Broker, func()) {
	srv := entratest.NewServer(entratest.Options{
		Seed:           1,
		ReplicationLag: -1,
		Users:          []entratest.User{{Username: "alice", Password: "correct horse", TOTPSecret: totp}},
		Policies:       []byte(mfaForMoney),
		Apps: []entratest.App{
			{ClientID: appID, Name: "The app", Public: true, Redirects: []string{native}, AdminConsent: true},
			{ClientID: payrollID, Name: "Payroll", URIs: []string{"api://payroll"}},
		},
	})
	keys, err := softkeys.Open(softkeys.Secret(make([]byte, 32))) // a program uses tpm.Open
	if err != nil {
		log.Fatal(err)
	}
	user := &person{client: srv.Client(), Person: entratest.Person{Username: "alice@contoso.example", Password: "correct horse", TOTPSecret: totp}}
	b, err := broker.New(context.Background(), broker.Config{
		Tenant:    "contoso.example",
		App:       broker.App{ClientID: appID},
		Keys:      keys,
		Transport: srv.Client(),
		Prompter:  user,
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := b.Enroll(context.Background(), broker.Password{Username: "alice@contoso.example", Password: "correct horse"}, broker.EnrollRequest{}); err != nil {
		log.Fatal(err)
	}
	return b, func() { _, _ = b.Close(), keys.Close(); srv.Close() }
}

func ExampleBroker_AcquireTokenSilent() {
	b, done := enrolledTenant()
	defer done()
	ctx := context.Background()

	for range 2 {
		res, err := b.AcquireTokenSilent(ctx, []string{"https://graph.microsoft.com/.default"})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(res.Account.PreferredUsername, "from", res.Metadata.Source)
	}
	// Output:
	// alice@contoso.example from prt
	// alice@contoso.example from cache
}

func ExampleError() {
	b, done := enrolledTenant()
	defer done()

	_, err := b.AcquireTokenSilent(context.Background(), []string{"User.Read"},
		broker.WithApp(broker.App{ClientID: appID, RedirectURI: "http://localhost"}))
	var e *broker.Error
	if errors.As(err, &e) {
		fmt.Println(e.Code, e.Verdict, errors.Is(err, broker.ErrAppConfig))
	}
	// Output:
	// 50011 app configuration true
}

func ExampleRoundTripper() {
	b, done := enrolledTenant()
	defer done()
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("Authorization")[:len("Bearer")])
	}))
	defer api.Close()

	client := &http.Client{Transport: &broker.RoundTripper{
		Broker: b,
		Scopes: []string{"https://graph.microsoft.com/.default"},
		Base:   api.Client().Transport,
	}}
	res, err := client.Get(api.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	scheme, _ := io.ReadAll(res.Body)
	fmt.Println(string(scheme))
	// Output: Bearer
}

func ExampleWithPoP() {
	b, done := enrolledTenant()
	defer done()

	res, err := b.AcquireTokenSilent(context.Background(), []string{"https://graph.microsoft.com/.default"},
		broker.WithPoP(broker.PoP{Method: http.MethodGet, URL: "https://api.example/v1/things"}))
	if err != nil {
		log.Fatal(err)
	}
	// The header is "Authorization: PoP eyJ…"; printing the result shows no token.
	fmt.Println(res.TokenType, fmt.Sprint(res) != res.AccessToken)
	// Output: PoP true
}
