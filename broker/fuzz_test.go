package broker

import (
	"bytes"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

// No record but the one that was sealed opens.
func FuzzUnseal(f *testing.F) {
	v := newVault(nil, &MemoryStore{}, bytes.NewReader(make([]byte, 64)), "account-1") // the same record in every fuzzing process
	v.setKey(bytes.Repeat([]byte{7}, dataKeySize), 1)
	good, err := v.seal(stateSuffix, []byte("the state"), 3)
	require.NoError(f, err)
	f.Add(good)
	f.Add([]byte{})
	f.Add(good[:len(good)-1])
	f.Fuzz(func(t *testing.T, raw []byte) {
		plain, generation, err := v.unseal(stateSuffix, raw)
		if err == nil && !bytes.Equal(raw, good) {
			t.Fatalf("another record opens: %q, generation %d", plain, generation)
		}
	})
}

// No address but one with the state of this very request gives a code.
func FuzzAuthorizeReply(f *testing.F) {
	const prefix, state = "ms-appx-web://Microsoft.AAD.BrokerPlugin/DRS", "the-state-of-this-request"
	f.Add(prefix + "?code=c&state=" + state)
	f.Add(prefix + "?error=access_denied&state=" + state)
	f.Add("https://evil.example/?code=c&state=" + state)
	b := testBroker(f)
	f.Fuzz(func(t *testing.T, redirected string) {
		code, err := b.authorizeReply("test", redirected, prefix, state)
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
	b := testBroker(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		dc, code, interval, err := b.parseDeviceCode(&reply{body: body})
		if err != nil {
			return
		}
		life := dc.ExpiresOn.Sub(b.cfg.Now())
		if code == "" || dc.UserCode == "" || interval < minInterval || life <= 0 || life > maxCodeLife {
			t.Fatalf("%q: %v, %v", body, interval, life)
		}
	})
}

// A file of the store is either refused or what was written.
func FuzzParseFile(f *testing.F) {
	f.Add([]byte(fileMagic + "\x00\x00\x00\x00\x00\x00\x00\x01data"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		data, v, err := parseFile("x", raw)
		if err == nil && (v == 0 || !bytes.Equal(raw[fileHeader:], data)) {
			t.Fatal("neither refused nor what was written")
		}
	})
}
