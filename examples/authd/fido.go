package authd

import (
	"bytes"
	"encoding/base64"
	"encoding/json"

	"github.com/prtbroker/prtbroker/broker/webflow"
)

// fidoChallenge returns a request to a security key as authd reads it: the challenge
// as it appears on the page, and the credentials as the page lists them.
func fidoChallenge(r *webflow.KeyRequest) (challenge string, allowed []string) {
	var data struct{ Challenge string }
	if json.Unmarshal(r.ClientDataJSON, &data) == nil {
		raw, _ := base64.RawURLEncoding.DecodeString(data.Challenge)
		challenge = string(raw)
	}
	for _, id := range r.Credentials {
		allowed = append(allowed, base64.StdEncoding.EncodeToString(id))
	}
	return challenge, allowed
}

// An assertion is what authd makes of a security key's answer: a flat object, its
// values base64url.
type assertion struct {
	ID                string `json:"id"`
	ClientDataJSON    string `json:"clientDataJSON"`
	AuthenticatorData string `json:"authenticatorData"`
	Signature         string `json:"signature"`
	UserHandle        string `json:"userHandle"`
}

// parseAssertion reads authd's assertion. The key has signed authd's client data, so
// that is what must be sent to the page.
func parseAssertion(text string, r *webflow.KeyRequest) (*webflow.Assertion, error) {
	var in assertion
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return nil, failure(MFAErrorOther, 0, "the assertion of the security key is not the JSON that authd makes")
	}
	out, clientData := new(webflow.Assertion), []byte(nil)
	for _, field := range []struct {
		value string
		to    *[]byte
	}{{in.ID, &out.ID}, {in.ClientDataJSON, &clientData}, {in.AuthenticatorData, &out.AuthenticatorData}, {in.Signature, &out.Signature}, {in.UserHandle, &out.UserHandle}} {
		raw, err := base64.RawURLEncoding.DecodeString(field.value)
		if err != nil {
			return nil, failure(MFAErrorOther, 0, "a field of the assertion is not base64url")
		}
		*field.to = raw
	}
	if !bytes.Equal(clientData, r.ClientDataJSON) {
		return nil, failure(MFAErrorOther, 0, "the security key signed other client data than this sign-in asks for")
	}
	return out, nil
}
