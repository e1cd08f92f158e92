// Package passkeys checks assertions, as a first and as a second factor, of the
// passkeys that users registered and of the Windows Hello for Business keys of their
// devices.
package passkeys

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// Relying party and origin of Entra's passkeys.
const (
	RelyingParty = "login.microsoft.com"
	Origin       = "https://login.microsoft.com"
)

// Checker checks assertions of a tenant's users.
type Checker struct{ Keeper *session.Keeper }

// Challenge gives the flow a challenge for a passkey to sign, unless it
// has one that is still valid.
func (c *Checker) Challenge(fl *session.Flow) {
	now := c.Keeper.Now()
	if fl.Challenge == nil || now.Unix() >= fl.Until {
		fl.Challenge = []byte("O." + base64.RawURLEncoding.EncodeToString(c.Keeper.Rand.Bytes(32)))
		fl.Until = now.Add(session.FlowLife).Unix()
	}
}

// Check finds the user and the key that answered the challenge of a flow. It uses up
// the challenge, whatever the result.
func (c *Checker) Check(r *web.Request, fl *session.Flow) (*directory.User, *Key, error) {
	wrong := web.InvalidGrant(135003, "Your passkey could not be verified. Try signing in another way.")
	if fl.Challenge == nil {
		return nil, nil, wrong.Because("no challenge was given")
	}
	now := c.Keeper.Now()
	if now.Unix() >= fl.Until {
		return nil, nil, wrong.Because("the challenge is too old")
	}
	if !c.Keeper.Pending.Redeem("fido "+string(fl.Challenge), fl.Until, now) {
		return nil, nil, wrong.Because("the challenge was answered before")
	}
	a, err := verify.ParseAssertion(r.Values.Get("assertion"))
	if err != nil {
		return nil, nil, wrong.Because("%v", err)
	}
	u, k, err := c.keyFor(fl, a.ID, wrong)
	if err != nil {
		return nil, nil, err
	}
	if err := a.Verify(k.Key, fl.Challenge, fidoParties(r)); err != nil {
		return nil, nil, wrong.Because("%v", err)
	}
	named := fl.Session != nil || fl.Username != ""
	if !k.Hello && (len(a.UserHandle) > 0 || !named) && !bytes.Equal(a.UserHandle, k.Handle) {
		return nil, nil, wrong.Because("user handle %q does not match the passkey's user", web.Clip(string(a.UserHandle)))
	}
	if err := c.Keeper.Directory.CountPasskey(u.UPN, k.ID, a.Count()); err != nil {
		return nil, nil, wrong.Because("%v", err)
	}
	return u, k, nil
}

// keyFor finds a passkey that may be used in the flow: it must belong to the user
// named, and may be a second factor only if the flow asks for one. A Hello key cannot
// be a second factor, since the user has to sign in with it first (Entra, "Conditional
// Access authentication strength", limitations).
func (c *Checker) keyFor(fl *session.Flow, id string, wrong *web.STSError) (*directory.User, *Key, error) {
	u := c.userOf(id)
	if u == nil {
		return nil, nil, wrong.Because("no user has the passkey %s", web.Clip(id))
	}
	keys := c.keysOf(u)
	i := slices.IndexFunc(keys, func(k Key) bool { return k.ID == id })
	switch {
	case u.Disabled:
		return nil, nil, web.InvalidGrant(50057, "The user account is disabled.")
	case i < 0:
		return nil, nil, wrong.Because("the device of the Hello key is disabled or deleted")
	case fl.Session == nil && fl.Username != "" && !strings.EqualFold(u.UPN, fl.Username),
		fl.Session != nil && u.ID != fl.Session.User:
		return nil, nil, wrong.Because("the passkey belongs to %s", u.UPN)
	}
	if fl.Session == nil {
		return u, &keys[i], nil
	}
	if _, ok := session.SecondFactor(u, fl, session.MethodKey); !ok || keys[i].Hello {
		return nil, nil, wrong.Because("the passkey is not a second factor here")
	}
	return u, &keys[i], nil
}

// fidoParties maps the origins that may sign in to their relying party ids: the real
// one and, for browsers on this machine, loopback.
func fidoParties(r *web.Request) map[string]string {
	out := map[string]string{Origin: RelyingParty}
	if strings.HasPrefix(r.Host, "localhost:") {
		out["http://"+r.Host] = "localhost"
	}
	return out
}

func (c *Checker) userOf(id string) *directory.User {
	if u, _ := c.Keeper.Directory.HelloUser(helloKeyOf(id)); u != nil {
		return u
	}
	return c.Keeper.Directory.PasskeyUser(id)
}

// A browser on Windows signs in with a Windows Hello for Business key as with a
// passkey: the credential id is the key id in base64url, and the signature is
// RS256 (roadtools, roadlib, webauthn.py).

// helloKeyOf returns the key id, in standard base64, that a credential id stands for
// if it belongs to a Hello key.
func helloKeyOf(credentialID string) string {
	raw, err := base64.RawURLEncoding.DecodeString(credentialID)
	if err != nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// Key is a key that a browser can sign in with.
type Key struct {
	directory.Passkey
	Hello bool // a Windows Hello key
}

// keysOf returns the passkeys of a user, and the Hello keys whose device is neither
// disabled nor deleted.
func (c *Checker) keysOf(u *directory.User) []Key {
	var out []Key
	for _, k := range u.Passkeys {
		out = append(out, Key{Passkey: k})
	}
	for _, k := range u.Hello {
		raw, err := base64.StdEncoding.DecodeString(k.Kid)
		dev := c.Keeper.Directory.Device(k.DeviceID)
		if err != nil || dev == nil || !dev.Works(c.Keeper.Now()) {
			continue
		}
		out = append(out, Key{directory.Passkey{ID: base64.RawURLEncoding.EncodeToString(raw), Key: k.Key}, true})
	}
	return out
}
