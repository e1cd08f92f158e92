package prt_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/prt"
)

// opaque is as long as a PRT of Entra is.
var opaque = prt.NewSecret("0." + strings.Repeat("AXoA", 400))

func BenchmarkExchangeRequest(b *testing.B) {
	s := prt.Session{Key: softwareKey(b, sessionKeyHex)}
	r := prt.ExchangeRequest{PRT: opaque, Nonce: theNonce, ClientID: "04b07795-8ddb-461a-bbee-02f9e1bf7b46",
		RedirectURI: "https://login.microsoftonline.com/common/oauth2/nativeclient", Resource: "https://graph.microsoft.com", Now: now}
	b.ReportAllocs()
	for b.Loop() {
		_, err := r.Sign(bg, s)
		require.NoError(b, err)
	}
}

func BenchmarkReplyDecrypt(b *testing.B) {
	s := prt.Session{Key: softwareKey(b, sessionKeyHex)}
	plain := `{"token_type":"Bearer","scope":"User.Read","expires_in":"4387","resource":"https://graph.microsoft.com","access_token":"` +
		strings.Repeat("eyJh", 500) + `","refresh_token":"` + opaque.Reveal() + `"}`
	for name, size := range map[string]int{"GCM": 12, "CBC": 16} {
		body := []byte(sealed(b, s.Key.(*prt.SoftwareKey), unhex(b, ctxHex), make([]byte, size), []byte(plain)))
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				_, err := prt.ParseReply(bg, body, s)
				require.NoError(b, err)
			}
		})
	}
}

func BenchmarkSSOCookie(b *testing.B) {
	s := prt.Session{Key: softwareKey(b, sessionKeyHex)}
	r := prt.CookieRequest{PRT: opaque, URL: signInURL, Nonce: theNonce}
	b.ReportAllocs()
	for b.Loop() {
		_, err := r.Sign(bg, s)
		require.NoError(b, err)
	}
}
