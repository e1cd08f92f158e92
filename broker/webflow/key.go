package webflow

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"

	"github.com/prtbroker/prtbroker/broker/webflow/internal/page"
)

// An Authenticator is a security key (FIDO2), such as that of package
// broker/webflow/fido. It prompts the user for a touch and perhaps a PIN by
// itself.
type Authenticator interface {
	// Assert signs what the request says, and returns within the context.
	Assert(context.Context, KeyRequest) (*Assertion, error)
}

// A KeyRequest is what a security key signs (WebAuthn, authenticatorGetAssertion).
type KeyRequest struct {
	// RelyingParty is the relying party id.
	RelyingParty string
	// ClientDataJSON is the client data, whose SHA-256 the key signs together
	// with the authenticator data.
	ClientDataJSON []byte
	// Credentials are the ids of the credentials that may sign. Empty: any that
	// the key holds for the relying party.
	Credentials [][]byte
	// Username is the user's name (UPN), for a key that holds several accounts.
	Username string
}

// An Assertion is what a security key answers.
type Assertion struct {
	ID                []byte // of the credential
	AuthenticatorData []byte
	Signature         []byte
	UserHandle        []byte // empty: the key gave none
}

// Format implements [fmt.Formatter] without revealing what signs the user in.
func (Assertion) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "Assertion{"+redacted+"}") }

// LogValue implements [slog.LogValuer] without revealing what signs the user in.
func (Assertion) LogValue() slog.Value { return slog.StringValue(redacted) }

// fidoOrigin is the origin at which the public cloud's pages ask for passkeys. Its
// host is their relying party.
const fidoOrigin = "https://login.microsoft.com"

// askKey makes the challenge for a security key at an origin.
func (f *Flow) askKey(origin string, ids []string) error {
	if f.at.View.KeyChallenge == "" {
		return lacking(&page.MissingError{Page: f.at.View.Page, Field: "sFidoChallenge"})
	}
	u, err := url.Parse(origin)
	if err != nil {
		return err
	}
	// The challenge is the text itself, not what it may encode.
	data, err := json.Marshal(struct {
		Type      string `json:"type"`
		Challenge string `json:"challenge"`
		Origin    string `json:"origin"`
	}{"webauthn.get", base64.RawURLEncoding.EncodeToString([]byte(f.at.View.KeyChallenge)), origin})
	if err != nil {
		return err
	}
	k := &KeyRequest{RelyingParty: u.Hostname(), ClientDataJSON: data, Username: f.at.User}
	for _, id := range ids {
		if raw := decode(id); raw != nil {
			k.Credentials = append(k.Credentials, raw)
		}
	}
	if f.at.Proofs != nil {
		f.askFactor(MethodKey, 0)
	} else {
		f.askFirst(MethodKey)
	}
	f.at.Challenge.Fido = k
	return nil
}

// decode reads base64 in either alphabet, padded or not. It returns nil for
// anything else.
func decode(s string) []byte {
	s = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(s), "=")
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil {
		return nil
	}
	return b
}

// openKey asks for a security key on the page for security keys.
func (f *Flow) openKey(at *url.URL, p *page.Page) error {
	if p.Code() != 0 {
		return refused(p)
	}
	return f.askKey("https://"+at.Host, allowed(p.Strings("arrFidoAllowList")))
}

// allowed reads an allow list, whose entries are ids or JSON lists of them.
func allowed(list []string) (ids []string) {
	for _, s := range list {
		var inner []string
		if json.Unmarshal([]byte(s), &inner) == nil {
			ids = append(ids, inner...)
			continue
		}
		ids = append(ids, s)
	}
	return ids
}

// beginFirstKey asks for a security key in place of a password.
func (f *Flow) beginFirstKey(ctx context.Context) error {
	if f.at.View.KeyLogin == "" {
		return f.askKey(fidoOrigin, allowed(f.at.Allow))
	}
	list, err := json.Marshal(allowed(f.at.Allow))
	if err != nil {
		return err
	}
	return f.toKeyPage(ctx, "", string(list))
}

// beginSecondKey asks for a security key after the first factor.
func (f *Flow) beginSecondKey(ctx context.Context) error {
	return f.toKeyPage(ctx, "mfa", f.at.View.KeyList)
}

// toKeyPage goes to the page for security keys, as the sign-in page's script does.
// It is on the host that is the relying party of the keys.
func (f *Flow) toKeyPage(ctx context.Context, flow, list string) error {
	u, err := f.endpoint("urlFidoLogin", f.at.View.KeyLogin)
	if err != nil {
		return err
	}
	form := url.Values{
		"allowedIdentities": {f.at.View.Identities}, "canary": {f.at.View.Token}, "serverChallenge": {f.at.View.Token},
		"postBackUrl": {f.at.View.Post}, "postBackUrlAad": {f.at.View.Post}, "cancelUrl": {f.at.View.Resume}, "resumeUrl": {f.at.View.Resume},
		"correlationId": {f.at.View.Correlation}, "credentialsJson": {list}, "ctx": {f.at.View.Ctx}, "username": {f.at.User},
		"loginCanary": {f.at.View.Canary},
	}
	if flow != "" {
		form.Set("flow", flow)
	}
	back := f.at.View
	r, err := f.web.post(ctx, u, form)
	if err != nil {
		return err
	}
	if err := f.arrive(ctx, r); err != nil {
		return err
	}
	f.at.Back = back
	return nil
}

// sendAssertion sends what the key signed, once.
func (f *Flow) sendAssertion(ctx context.Context, a *Assertion) error {
	b64 := base64.RawURLEncoding.EncodeToString
	text, err := json.Marshal(map[string]string{
		"id": b64(a.ID), "clientDataJSON": b64(f.at.Challenge.Fido.ClientDataJSON), "authenticatorData": b64(a.AuthenticatorData),
		"signature": b64(a.Signature), "userHandle": b64(a.UserHandle),
	})
	if err != nil {
		return err
	}
	f.at.Proofs = nil
	form := f.form()
	form.Set("type", "23")
	form.Set("ps", "23")
	form.Set("assertion", string(text))
	form.Set("lmcCanary", f.at.View.Cross)
	form.Set("hpgrequestid", f.at.View.SessionID)
	form.Set("login", f.at.User)
	return f.send(ctx, form)
}
