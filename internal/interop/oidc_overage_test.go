package interop

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// A user of more groups than a token holds, as Grafana and others read it: the id_token
// verified by go-oidc names where the groups are, and the access token beside it gets
// them there.
func TestOIDCGroupOverage(t *testing.T) {
	const id, secret = "7a11e51e-1005-4000-8000-000000000005", "dashboards~secret"
	o := entratest.Options{
		Users: []entratest.User{{Username: "alice", Password: alicePwd}, {Username: "bob", Password: bobPwd}},
		Apps:  []entratest.App{{ClientID: id, Name: "Dashboards", Secret: secret, GroupClaims: true, AdminConsent: true}},
	}
	for i := range 201 {
		team := entratest.Group{Name: fmt.Sprint("Team ", i), Members: []string{"alice"}}
		if i < 2 {
			team.Members = append(team.Members, "bob")
		}
		o.Groups = append(o.Groups, team)
	}
	e := newEmulator(t, o)
	ctx := oidc.ClientContext(t.Context(), e.Client())
	p, err := oidc.NewProvider(ctx, "https://login.microsoftonline.com/"+e.TenantID()+"/v2.0")
	require.NoError(t, err)
	web := oauth2.Config{ClientID: id, ClientSecret: secret, Endpoint: p.Endpoint(), Scopes: []string{oidc.ScopeOpenID, "https://graph.microsoft.com/User.Read", "https://graph.microsoft.com/GroupMember.Read.All"}}
	type claims struct {
		Object  string            `json:"oid"`
		Groups  []string          `json:"groups"`
		Names   map[string]string `json:"_claim_names"`
		Sources map[string]struct {
			Endpoint string `json:"endpoint"`
		} `json:"_claim_sources"`
	}
	signIn := func(t *testing.T, user, password string) (c claims, access string) {
		t.Helper()
		token, err := web.PasswordCredentialsToken(ctx, user+"@contoso.example", password)
		require.NoError(t, err)
		verified, err := p.Verifier(&oidc.Config{ClientID: id}).Verify(ctx, token.Extra("id_token").(string))
		require.NoError(t, err)
		require.NoError(t, verified.Claims(&c))
		return c, token.AccessToken
	}
	flow(t, "go-oidc", "groups of a user", func(t *testing.T) string {
		c, _ := signIn(t, "bob", bobPwd)
		require.Len(t, c.Groups, 2)
		require.Empty(t, c.Names)
		return "2 groups in the id_token"
	})
	flow(t, "go-oidc", "groups of a user, more than a token holds", func(t *testing.T) string {
		c, access := signIn(t, "alice", alicePwd)
		require.Empty(t, c.Groups)
		source := c.Sources[c.Names["groups"]].Endpoint
		require.True(t, strings.HasSuffix(source, "/users/"+c.Object+"/getMemberObjects"), source)
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, source, strings.NewReader(`{"securityEnabledOnly":false}`))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+access)
		resp, err := e.Client().Do(r)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		var list struct {
			Value []string `json:"value"`
		}
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&list))
		require.Len(t, list.Value, 201)
		return "a reference to Graph, which lists 201"
	})
}
