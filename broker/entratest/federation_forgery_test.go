package entratest_test

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// A user of a federated domain cannot make of an own assertion that of another:
// the attacks of McIntosh and Austel, "XML signature element wrapping attacks
// and countermeasures", and what comes near them.
func TestForgedAssertions(t *testing.T) {
	o := options(entratest.NewClock(time.Time{}))
	o.Federated = []string{"fed.example"}
	o.Users = append(o.Users, entratest.User{Username: "frida@fed.example", Password: password}, entratest.User{Username: "fritz@fed.example", Password: "another password"})
	c := newClient(t, entratest.NewTB(t, o))
	const begin, end = "<ds:Signature ", "</ds:Signature>"
	issued := func(user, password string) (text, signature string) {
		text = assertionOf(t, c.soap("2005", user+"@fed.example", password, "urn:federation:MicrosoftOnline", ""))
		return text, text[strings.Index(text, begin) : strings.Index(text, end)+len(end)]
	}
	between := func(s, from, to string) string {
		_, s, _ = strings.Cut(s, from)
		s, _, _ = strings.Cut(s, to)
		return s
	}
	own, signature := issued("frida", password)
	theirs, _ := issued("fritz", "another password") // only to know how the service names fritz
	nameID := func(s string) string { return between(s, `nameid-format:unspecified">`, "<") }
	require.NotEqual(t, nameID(own), nameID(theirs))
	body := strings.Replace(own, signature, "", 1)
	forged := strings.NewReplacer(nameID(own), nameID(theirs), "frida@", "fritz@").Replace(body)
	digest := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return base64.StdEncoding.EncodeToString(sum[:])
	}
	info := "<ds:SignedInfo>" + between(signature, "<ds:SignedInfo>", "</ds:SignedInfo>") + "</ds:SignedInfo>"
	wrong := strings.Replace(info, digest(body), digest(forged), 1)
	require.NotEqual(t, info, wrong)
	envelop := func(signature, body string) string {
		return strings.Replace(body, "</saml:AuthenticationStatement>", "</saml:AuthenticationStatement>"+signature, 1)
	}
	require.Equal(t, own, envelop(signature, body))

	tests := []struct{ name, assertion string }{
		{"body changed", envelop(signature, forged)},
		{"digest changed", envelop(strings.Replace(signature, info, wrong, 1), forged)},
		{"second SignedInfo after the signed one", envelop(strings.Replace(signature, info, info+wrong, 1), forged)},
		{"second SignedInfo before the signed one", envelop(strings.Replace(signature, info, wrong+info, 1), forged)},
		{"second SignedInfo at the end", envelop(strings.Replace(signature, end, wrong+end, 1), forged)},
		{"second reference", envelop(strings.Replace(signature, "</ds:Reference>", "</ds:Reference><ds:Reference><ds:DigestValue>"+digest(forged)+"</ds:DigestValue></ds:Reference>", 1), forged)},
		{"signed assertion in the signature", envelop(strings.Replace(signature, end, "<ds:Object>"+body+"</ds:Object>"+end, 1), forged)},
		{"signed assertion in the forged one", strings.Replace(forged, "</saml:Assertion>", own+"</saml:Assertion>", 1)},
		{"two signatures", envelop(signature+signature, forged)},
		{"reference to another id", envelop(strings.Replace(signature, `URI="#`, `URI="#x`, 1), body)},
		{"value missing", envelop(strings.Replace(signature, "<ds:SignatureValue>", "<ds:Value>", 1), body)},
		{"signature not closed", strings.Replace(own, end, "", 1)},
	}
	redeem := func(assertion string) *reply {
		return c.token("grant_type", "urn:ietf:params:oauth:grant-type:saml1_1-bearer", "client_id", payrollID, "resource", "api://payroll",
			"assertion", base64.StdEncoding.EncodeToString([]byte(assertion)))
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := redeem(tt.assertion)
			require.Equal(t, 50008, r.code(), "%s", r.body)
		})
	}
	require.Equal(t, 200, redeem(own).status)
	require.Equal(t, 200, redeem(envelop("", strings.Replace(body, "<saml:Conditions", signature+"<saml:Conditions", 1))).status, "where the signature stands is not signed")
}
