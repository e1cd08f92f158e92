package oauth2broker_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/oauth2broker"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

const (
	appID  = "11111111-aaaa-4bbb-8ccc-000000000001"
	openID = "11111111-aaaa-4bbb-8ccc-000000000004"
	native = "https://login.microsoftonline.com/common/oauth2/nativeclient"
)

// tenant returns an emulated tenant and a broker with alice signed in.
func tenant(t testing.TB) (*entratest.Server, *entratest.Clock, *broker.Broker) {
	t.Helper()
	clock := entratest.NewClock(time.Time{})
	srv := entratest.NewTB(t, entratest.Options{
		Clock: clock, Seed: 1, ReplicationLag: -1, Logf: func(string, ...any) {},
		Users: []entratest.User{{Username: "alice", Password: "pw"}},
		Apps: []entratest.App{
			{ClientID: appID, Public: true, Redirects: []string{native}, AdminConsent: true},
			{ClientID: openID, URIs: []string{"api://open"}},
		},
	})
	keys, err := softkeys.Open(softkeys.Secret(make([]byte, 32)), softkeys.InsecureFastPINs())
	require.NoError(t, err)
	b, err := broker.New(t.Context(), broker.Config{
		Tenant: "contoso.example", Keys: keys, App: broker.App{ClientID: appID}, Transport: srv.Client(), Now: clock.Now,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = b.Close(), keys.Close() })
	_, err = b.Enroll(t.Context(), broker.Password{Username: "alice@contoso.example", Password: "pw"}, broker.EnrollRequest{})
	require.NoError(t, err)
	return srv, clock, b
}

var scopes = []string{"api://open/.default"}

func TestTokenSource(t *testing.T) {
	_, clock, b := tenant(t)
	ts := oauth2broker.TokenSource(t.Context(), b, scopes)
	tok, err := ts.Token()
	require.NoError(t, err)
	require.Equal(t, "Bearer", tok.Type())
	require.NotEmpty(t, tok.Extra("id_token"))
	require.Equal(t, 70*time.Minute, tok.Expiry.Sub(clock.Now()))
	again, err := ts.Token()
	require.NoError(t, err)
	require.Equal(t, tok.AccessToken, again.AccessToken)
	clock.Advance(2 * time.Hour)
	next, err := ts.Token()
	require.NoError(t, err)
	require.NotEqual(t, tok.AccessToken, next.AccessToken)
}

func TestErrorsOfBothLibraries(t *testing.T) {
	srv, _, b := tenant(t)
	srv.AddFault(entratest.Fault{Endpoint: entratest.EndpointToken, Kind: entratest.AADSTS, Code: 50076, Error: "interaction_required", Suberror: "basic_action"})
	_, err := oauth2broker.TokenSource(t.Context(), b, scopes).Token()
	require.ErrorIs(t, err, broker.ErrInteractionRequired)
	var ours *broker.Error
	require.ErrorAs(t, err, &ours)
	require.Equal(t, 50076, ours.Code)
	var theirs *oauth2.RetrieveError
	require.ErrorAs(t, err, &theirs)
	require.Equal(t, "interaction_required", theirs.ErrorCode)
	require.Equal(t, http.StatusBadRequest, theirs.Response.StatusCode)
	require.Contains(t, theirs.Error(), "AADSTS50076")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = oauth2broker.TokenSource(ctx, b, scopes, broker.WithForceRefresh()).Token()
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, errors.As(err, &theirs), "the service said nothing")
}

func ExampleTokenSource() {
	// b is a broker with a user signed in.
	var b *broker.Broker
	ts := oauth2broker.TokenSource(context.Background(), b, []string{"https://graph.microsoft.com/.default"})
	client := oauth2.NewClient(context.Background(), ts)
	fmt.Printf("%T\n", client.Transport)
	// Output: *oauth2.Transport
}
