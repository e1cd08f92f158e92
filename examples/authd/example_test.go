package authd_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/examples/authd"
)

// What authd does at a first login with password and number match, and what another
// process does with the JSON value that it kept.
func Example() {
	ctx := context.Background()
	entra := entratest.NewServer(entratest.Options{Seed: 1, ReplicationLag: -1,
		Users: []entratest.User{{Username: "carol", Password: "paper clip", NumberMatch: true}},
		Apps:  []entratest.App{{ClientID: app, Public: true, AdminConsent: true, Redirects: []string{broker.NativeClientRedirect}}},
	})
	defer entra.Close()
	p := authd.New(authd.Config{Transport: entra.Transport()})
	defer p.Close()

	const carol = "carol@contoso.example"
	flow, challenge, err := p.InitiateMFAFlow(ctx, app, entra.TenantID(), nil, carol, "paper clip", true)
	if err != nil {
		log.Fatal(err)
	}
	defer authd.FreeMFAFlowState(flow)
	fmt.Println(challenge.Method, challenge.PollingIntervalMs)

	_, err = p.AcquireTokenByMFAFlow(ctx, app, entra.TenantID(), nil, carol, flow, "", 1)
	var e *authd.MFAError
	fmt.Println(errors.As(err, &e) && e.IsMFAPollContinue())

	var number int // which carol reads in the message
	if _, err := fmt.Sscanf(challenge.Message, "Open your authenticator app and enter the number %d.", &number); err != nil {
		log.Fatal(err)
	}
	entra.AnswerNumberMatch("carol", number)
	token, err := p.AcquireTokenByMFAFlow(ctx, app, entra.TenantID(), nil, carol, flow, "", 2)
	if err != nil {
		log.Fatal(err)
	}
	data, cleanup, err := p.RegisterDevice(ctx, token, entra.TenantID(), "contoso.example")
	if err != nil {
		log.Fatal(err)
	}
	cleanup()
	file, err := json.Marshal(data)
	if err != nil {
		log.Fatal(err)
	}

	next := authd.New(authd.Config{Transport: entra.Transport()})
	defer next.Close()
	var kept authd.DeviceRegistrationData
	if err := json.Unmarshal(file, &kept); err != nil {
		log.Fatal(err)
	}
	access, err := next.AcquireAccessTokenForGraphAPI(ctx, app, entra.TenantID(), token, kept)
	fmt.Println(access != "", err)
	fmt.Println(len(entra.Devices()), len(entra.PRTs()))

	// Output:
	// PhoneAppNotification 1000
	// true
	// true <nil>
	// 1 1
}
