package interop

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// assertion is what the federation server of dave's domain says of him, with
// the line end that a file would have.
func assertion(t *testing.T, password string) string {
	t.Helper()
	soap := `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing"><s:Header>
<o:Security xmlns:o="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"><o:UsernameToken><o:Username>` + dave +
		`</o:Username><o:Password>` + password + `</o:Password></o:UsernameToken></o:Security></s:Header><s:Body>
<t:RequestSecurityToken xmlns:t="http://docs.oasis-open.org/ws-sx/ws-trust/200512"><p:AppliesTo xmlns:p="http://schemas.xmlsoap.org/ws/2004/09/policy">
<a:EndpointReference><a:Address>urn:federation:MicrosoftOnline</a:Address></a:EndpointReference></p:AppliesTo></t:RequestSecurityToken></s:Body></s:Envelope>`
	resp, err := running.http.Post("https://sts.corp.contoso.example/adfs/services/trust/13/usernamemixed", "application/soap+xml; charset=utf-8", strings.NewReader(soap))
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	text := string(body)
	from, to := strings.Index(text, "<saml:Assertion"), strings.LastIndex(text, "</saml:Assertion>")
	require.Positive(t, from, text)
	return text[from:to] + "</saml:Assertion>\n"
}
