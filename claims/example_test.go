package claims_test

import (
	"encoding/base64"
	"fmt"
	"time"

	"github.com/prtbroker/prtbroker/claims"
)

// unsigned is a token as a PRT reply holds one.
func unsigned(payload string) string {
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"alg":"none"}`)) + "." + enc([]byte(payload)) + "."
}

func Example() {
	idToken := unsigned(`{"upn":"alice@contoso.example","amr":["pwd","mfa"],"auth_time":1741083072}`)
	if err := printMFA(idToken); err != nil {
		fmt.Println(err)
	}
	// Output: alice@contoso.example password,mfa yes
}

func printMFA(idToken string) error {
	t, err := claims.Parse(idToken)
	if err != nil {
		return err
	}
	fmt.Println(t.Username, t.Methods, t.Evidence(claims.SourceIDToken).MFA)
	return nil
}

func ExampleFromAMR() {
	m, unknown := claims.FromAMR([]string{"pwd", "sms", "telepathy"})
	fmt.Println(m, m.MFA(), unknown)
	// Output: password,sms true [telepathy]
}

func ExampleMethods_MFA() {
	fmt.Println((claims.Password | claims.MarkRSA).MFA()) // a password on a registered device
	fmt.Println(claims.WindowsHello.MFA())
	// Output:
	// false
	// true
}

func ExampleMethods_AMR() {
	fmt.Println(claims.WindowsHello.AMR(), (claims.Password | claims.SMS).AMR())
	// Output: [rsa mfa] [pwd sms mfa]
}

func ExampleMethods_Fresh() {
	fmt.Println(claims.MarkMFA.Fresh(), claims.MarkFreshMFA.Fresh())
	// Output: false true
}

func ExampleMethods_Modes() {
	m, _ := claims.FromAMR([]string{"pwd", "rsa", "mfa"})
	fmt.Println(m, "|", m.Modes())
	// Output: password,rsa,mfa | password
}

func ExampleMethods_Has() {
	fmt.Println((claims.Password | claims.SMS).Has(claims.SMS))
	// Output: true
}

func ExampleParseMode() {
	m, ok := claims.ParseMode("windowsHelloForBusiness")
	fmt.Println(uint32(m), ok)
	// Output: 64 true
}

func ExampleParseModes() {
	m, ok := claims.ParseModes("password,microsoftAuthenticatorPush")
	fmt.Println(uint32(m), ok)
	// Output: 129 true
}

func ExampleParse() {
	t, err := claims.Parse(unsigned(`{"upn":"alice@contoso.example","tid":"t","oid":"o","amr":["pwd","mfa"],"exp":"1741087459"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(t.Username, t.Methods, t.Expires)
	// Output: alice@contoso.example password,mfa 2025-03-04 11:24:19 +0000 UTC
}

func ExampleToken_Evidence() {
	for _, payload := range []string{`{"amr":["pwd"]}`, `{"amr":["pwd","mfa"],"auth_time":1741083072}`, `{}`} {
		t, err := claims.Parse(unsigned(payload))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(t.Evidence(claims.SourceIDToken))
	}
	// Output:
	// MFA no by password from id_token
	// MFA yes by password,mfa at 2025-03-04T10:11:12Z from id_token
	// MFA unknown
}

// A renewal tells nothing new; an unlock with a Hello key moves the time.
func ExampleEvidence_Merge() {
	morning := time.Date(2025, 3, 4, 8, 0, 0, 0, time.UTC)
	e := claims.Evidence{MFA: claims.Yes, Methods: claims.WindowsHello, At: morning, Source: claims.SourceHello}
	e = e.Merge(claims.Evidence{MFA: claims.Yes, At: morning.Add(4 * time.Hour), Source: claims.SourceRenewal})
	fmt.Println(e)
	e = e.Merge(claims.Evidence{MFA: claims.Yes, Methods: claims.WindowsHello, At: morning.Add(5 * time.Hour), Source: claims.SourceHello})
	fmt.Println(e)
	// Output:
	// MFA yes by windowsHelloForBusiness at 2025-03-04T08:00:00Z from hello
	// MFA yes by windowsHelloForBusiness at 2025-03-04T13:00:00Z from hello
}

func ExampleEvidence_Fresh() {
	now := time.Date(2025, 3, 4, 12, 0, 0, 0, time.UTC)
	e := claims.Evidence{MFA: claims.Yes, At: now.Add(-2 * time.Hour)}
	fmt.Println(e.Fresh(4*time.Hour, now), e.Fresh(time.Hour, now), claims.Evidence{}.Fresh(time.Hour, now))
	// Output: yes no unknown
}

func ExampleAnswer() {
	var a claims.Answer
	fmt.Println(a, claims.No, claims.Yes)
	// Output: unknown no yes
}

func ExampleParseClientInfo() {
	c, err := claims.ParseClientInfo(base64.RawURLEncoding.EncodeToString([]byte(`{"uid":"o","utid":"t"}`)))
	fmt.Println(c.HomeAccountID(), err)
	// Output: o.t <nil>
}

func ExampleParseChallenges() {
	cs, err := claims.ParseChallenges(`Bearer realm="", error="insufficient_claims", claims="e30=", PoP nonce="n"`)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range cs {
		fmt.Println(c.Scheme, len(c.Params), c.Insufficient())
	}
	// Output:
	// Bearer 3 true
	// PoP 1 false
}

func ExampleChallenge_Claims() {
	cs, err := claims.ParseChallenges(`Bearer claims="eyJhY2Nlc3NfdG9rZW4iOnsiYWNycyI6eyJ2YWx1ZSI6ImMxIn19fQ"`)
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := cs[0].Claims()
	fmt.Println(r, err)
	// Output: {"access_token":{"acrs":{"value":"c1"}}} <nil>
}

// From a 401 reply to the claims parameter of the next request.
func ExampleFindClaims() {
	header := `Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsiYWNycyI6eyJlc3NlbnRpYWwiOnRydWUsInZhbHVlIjoiYzEifX19"`
	r, err := claims.FindClaims(header)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.WithCapabilities("cp1"))
	fmt.Println(r.Contexts(), r.Beyond())
	// Output:
	// {"access_token":{"acrs":{"essential":true,"value":"c1"},"xms_cc":{"values":["cp1"]}}}
	// [c1] true
}

func ExampleParseRequest() {
	r, err := claims.ParseRequest(`{"access_token":{"nbf":{"essential":true,"value":"1741083072"}}}`)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.NotBefore())
	// Output: 2025-03-04 10:11:12 +0000 UTC
}

func ExampleRequest_Merge() {
	var none *claims.Request
	r := none.WithContext("c1").Merge(none.WithMFA(true))
	fmt.Println(r, r.AMR())
	// Output: {"access_token":{"acrs":{"essential":true,"value":"c1"},"amr":{"essential":true,"values":["ngcmfa"]}}} [ngcmfa]
}

func ExampleRequest_WithNotBefore() {
	var none *claims.Request
	fmt.Println(none.WithNotBefore(time.Unix(1741083072, 0)))
	// Output: {"access_token":{"nbf":{"essential":true,"value":"1741083072"}}}
}

func ExampleRequest_Beyond() {
	var none *claims.Request
	fmt.Println(none.WithCapabilities("cp1").Beyond(), none.WithMFA(false).Beyond(), none.IsZero())
	// Output: false true true
}

func ExampleRequest_Capabilities() {
	var none *claims.Request
	fmt.Println(none.WithCapabilities("cp1").Capabilities())
	// Output: [cp1]
}
