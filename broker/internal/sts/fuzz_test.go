package sts

import (
	"net/url"
	"testing"
)

// No address but one with the state of this very request gives a code.
func FuzzAuthorizeReply(f *testing.F) {
	const prefix, state = "ms-appx-web://Microsoft.AAD.BrokerPlugin/DRS", "the-state-of-this-request"
	f.Add(prefix + "?code=c&state=" + state)
	f.Add(prefix + "?error=access_denied&state=" + state)
	f.Add("https://evil.example/?code=c&state=" + state)
	f.Fuzz(func(t *testing.T, redirected string) {
		code, err := authorizeReply(redirected, prefix, state)
		if err != nil {
			return
		}
		u, perr := url.Parse(redirected)
		if perr != nil || code == "" || u.Query().Get("state") != state || !hasPrefixFold(redirected, prefix) {
			t.Fatalf("%q gave a code", redirected)
		}
	})
}

// What a device code reply holds is either refused or within bounds.
func FuzzDeviceCode(f *testing.F) {
	f.Add([]byte(`{"user_code":"A","device_code":"B","verification_url":"https://x","expires_in":"900","interval":"5"}`))
	f.Add([]byte(`{"user_code":"A","device_code":"B","expires_in":-1,"interval":1e99}`))
	c := testClient(f, nil)
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := c.parseDeviceCode(body)
		if err != nil {
			return
		}
		life := d.ExpiresOn.Sub(noon)
		if d.code == "" || d.UserCode == "" || d.interval < minInterval || life <= 0 || life > maxCodeLife {
			t.Fatalf("%q: %v, %v", body, d.interval, life)
		}
	})
}
