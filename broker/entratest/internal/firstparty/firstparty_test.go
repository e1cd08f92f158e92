package firstparty

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	azureCLI  = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
	broker    = "29d9ed98-a469-4536-ade2-f981bc1d605e"
	graph     = "00000003-0000-0000-c000-000000000000"
	azureARM  = "797f4846-ba00-4fd7-ba43-dac1f8f63013"
	azureAKS  = "6dae42f8-4368-4678-94ff-3960e28e3630"
	teams     = "1fec8e78-bce4-4aaf-ab1b-5451cc387264"
	aksClient = "80faf920-1908-4b52-b5ef-a8e7bedfc67a"
)

func TestMatrix(t *testing.T) {
	for i, line := range strings.Split(strings.TrimSuffix(matrix, "\n"), "\n") {
		kind, rest, _ := strings.Cut(line, " ")
		require.Containsf(t, []string{"#", "resource", "client", "redirect", "grant"}, kind, "line %d", i+1)
		require.NotEmptyf(t, rest, "line %d", i+1)
		if kind == "grant" {
			require.Regexpf(t, `^\d+( \d+)*: \S+( \S+)*$`, rest, "line %d", i+1)
		}
	}
	require.Contains(t, matrix, "\n# date 20", "the list is dated")
	require.Contains(t, matrix, "\n# licence MIT")
	require.Len(t, parsed().clients, 506)
	require.Len(t, parsed().resources, 1598)
	pairs := 0
	for _, c := range parsed().clients {
		for _, g := range c.grants {
			pairs += len(strings.Fields(g.resources))
		}
	}
	require.Equal(t, 12637, pairs)
}

func TestLookup(t *testing.T) {
	c := Lookup(strings.ToUpper(azureCLI))
	require.NotNil(t, c)
	require.Equal(t, "Microsoft Azure CLI", c.Name)
	require.True(t, c.Public)
	require.False(t, c.Family, "the Azure CLI left the family in January 2026")
	require.True(t, Lookup(teams).Family)
	require.Contains(t, c.Redirects, "http://localhost")
	require.NotContains(t, Lookup(broker).Redirects, "http://localhost")
	require.Nil(t, Lookup("38aa3b87-a06d-4817-b275-7a316988d93b"), "the list is silent about it")
}

func TestScopes(t *testing.T) {
	for _, tc := range []struct {
		name, client, resource string
		has, hasNot            string
	}{
		{"the broker client has little of Graph", broker, graph, "User.Read", "Mail.Read"},
		{"the Azure CLI has Azure", azureCLI, azureARM, "user_impersonation", "User.Read"},
		{"the Azure CLI reads no mail", azureCLI, graph, "User.Read.All", "Mail.Read"},
		{"kubectl has its clusters", aksClient, azureAKS, "user.read", "user_impersonation"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			scopes, known := Lookup(tc.client).Scopes(tc.resource)
			require.True(t, known)
			require.Contains(t, scopes, tc.has)
			require.NotContains(t, scopes, tc.hasNot)
		})
	}
	scopes, known := Lookup(aksClient).Scopes(graph)
	require.True(t, known, "the list has tried Graph")
	require.Empty(t, scopes, "and found nothing")
	_, known = Lookup(aksClient).Scopes("7a11e51e-0001-4000-8000-000000000001")
	require.False(t, known, "a tenant's own API is no part of the list")
}

func TestResource(t *testing.T) {
	for uri, want := range map[string]string{
		"https://graph.microsoft.com/":                  graph,
		"https://graph.microsoft.com":                   graph,
		"https://MANAGEMENT.core.windows.net/":          azureARM,
		azureAKS:                                        azureAKS,
		"urn:ms-drs:enterpriseregistration.windows.net": "01cb2876-7ebd-4aa4-9cc9-d28bd4d359a9",
	} {
		id, ok := Resource(uri)
		require.True(t, ok, uri)
		require.Equal(t, want, id)
	}
	_, ok := Resource("api://payroll")
	require.False(t, ok)
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		parse(matrix)
	}
}
