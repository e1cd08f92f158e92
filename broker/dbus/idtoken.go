package dbus

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync"

	"github.com/prtbroker/prtbroker/broker"
)

// maxIDTokens bounds how many converted id_tokens are remembered.
const maxIDTokens = 256

// idTokens remembers converted id_tokens, since a token from memory comes with
// the same one each time.
type idTokens struct {
	mu   sync.Mutex // guards done
	done map[string]string
}

// of returns the id_token of a result in the form that msalruntime needs. It
// creates no account from an id_token without preferred_username ("Unable to
// create an account based on server data"), but those of the v1.0 endpoint,
// which an exchange of the PRT returns, have upn and unique_name instead. In
// that case the claim is added. The signature, which does not match the new
// text, is dropped, and the header says "none", as in the id_tokens of PRT
// exchanges. Clients read the claims without verifying them, since the token
// came over their own user's bus.
func (t *idTokens) of(res broker.AuthResult) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if out, ok := t.done[res.IDToken]; ok && res.IDToken != "" {
		return out
	}
	out := withPreferredUsername(res)
	if t.done == nil || len(t.done) >= maxIDTokens {
		t.done = map[string]string{}
	}
	t.done[res.IDToken] = out
	return out
}

func withPreferredUsername(res broker.AuthResult) string {
	payload := map[string]json.RawMessage{}
	if part := strings.Split(res.IDToken, "."); len(part) == 3 {
		text, err := base64.RawURLEncoding.DecodeString(part[1])
		if err != nil || json.Unmarshal(text, &payload) != nil {
			payload = map[string]json.RawMessage{}
		}
	}
	if _, ok := payload["preferred_username"]; ok {
		return res.IDToken
	}
	for name, value := range map[string]string{
		"preferred_username": res.Account.PreferredUsername,
		"oid":                res.Account.LocalAccountID,
		"tid":                res.Account.Realm,
		"name":               res.Account.Name,
	} {
		if _, ok := payload[name]; ok || value == "" {
			continue
		}
		text, err := json.Marshal(value)
		if err != nil {
			return res.IDToken
		}
		payload[name] = text
	}
	text, err := json.Marshal(payload)
	if err != nil {
		return res.IDToken
	}
	return unsignedHeader + base64.RawURLEncoding.EncodeToString(text) + "."
}

// unsignedHeader is {"alg":"none","typ":"JWT"}, with the dot.
const unsignedHeader = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0."
