package sts

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFindAssertion(t *testing.T) {
	const assertion = `<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:1.0:assertion" ID="a"> <x>1</x></saml:Assertion>`
	got, err := findAssertion([]byte(`<Envelope><Body><Token>` + assertion + `</Token></Body></Envelope>`))
	require.NoError(t, err)
	require.Equal(t, assertion, string(got))
	for _, bad := range []string{"", "<a/>", "<Assertion/>", `<s:Assertion xmlns:s="urn:oasis:names:tc:SAML:2.0:assertion">`} {
		_, err := findAssertion([]byte(bad))
		require.ErrorIs(t, err, errNoAssertion, bad)
	}
}
