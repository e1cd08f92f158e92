package entratest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
)

// Relying party and origin of Entra's passkeys.
const (
	relyingParty = "login.microsoft.com"
	fidoOrigin   = "https://login.microsoft.com"
)

// Passkey is a FIDO2 credential. With Key it can also sign, and a [Person] can
// use it; the server needs the public key alone.
type Passkey struct {
	ID     []byte            // credential id
	Public crypto.PublicKey  // *ecdsa.PublicKey (P-256) or *rsa.PublicKey; nil: that of Key
	Key    *ecdsa.PrivateKey // nil: somebody else's authenticator holds it
	AAGUID string            // model of the authenticator; "": unknown
	// UserHandle is what the authenticator tells of the user, so that nobody
	// has to type a name; nil: the object id of the user, as text.
	UserHandle []byte
	// Count is the signature counter. A [Person] counts it up with every use;
	// the server refuses one that does not rise, as that of a cloned
	// authenticator, unless it is zero on both sides. Copy a passkey before
	// somebody signs in with it, not meanwhile.
	Count uint32
}

// NewPasskey makes a passkey with a P-256 key.
func NewPasskey() (*Passkey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("entratest: %w", err)
	}
	id := make([]byte, 32)
	if _, err := rand.Read(id); err != nil {
		return nil, fmt.Errorf("entratest: %w", err)
	}
	return &Passkey{ID: id, Key: key}, nil
}

// AddPasskey registers a passkey of a user. A credential id that is registered
// already, by whomever, is an error (WebAuthn Level 2, 7.1, step 22).
func (s *Server) AddPasskey(username string, k Passkey) error {
	return s.dir.AddPasskey(username, directory.PasskeySpec(k))
}

// challengePasskey gives the flow the challenge that a passkey signs, unless it
// has one that is still good.
func (s *Server) challengePasskey(fl *session.Flow) {
	now := s.Now()
	if fl.Challenge == nil || now.Unix() >= fl.Until {
		fl.Challenge = []byte("O." + base64.RawURLEncoding.EncodeToString(s.rand.Bytes(32)))
		fl.Until = now.Add(session.FlowLife).Unix()
	}
}

// fidoGet is the page on which a passkey signs, at the host that is its
// relying party.
func (s *Server) fidoGet(w http.ResponseWriter, r *web.Request) {
	fl, err := s.keeper.OpenFlow(r.URL.Query().Get("ctx"))
	if err != nil {
		s.errorPage(w, r, err)
		return
	}
	err = fl.Failed.Err()
	fl.Failed = nil
	s.showPasskey(w, r, fl, err)
}

// showPasskey shows the page on which a passkey signs. Browsers let a page use
// the passkeys of its own host alone, so that other hosts lead there.
func (s *Server) showPasskey(w http.ResponseWriter, r *web.Request, fl *session.Flow, err error) {
	host := strings.ToLower(r.Host)
	if host != relyingParty && web.IsLoginHost(host) {
		if err != nil {
			e := web.AsSTSError(err)
			fl.Failed = &session.Failure{Code: e.Code, Text: e.Text}
		}
		web.NoStore(w)
		writeRedirect(w, fidoOrigin+pathOf(fl, "fido/get")+"?"+url.Values{"ctx": {s.keeper.SealFlow(fl)}}.Encode())
		return
	}
	p := s.passkeyPage(r, fl)
	web.Explain(&p, err)
	p.Write(w, http.StatusOK)
}

// passkeyPage is that page, with a challenge that is still good.
func (s *Server) passkeyPage(r *web.Request, fl *session.Flow) pages.Page {
	s.challengePasskey(fl)
	allow := []string{}
	if u := s.dir.User(fl.Username); u != nil {
		allow = u.PasskeyIDs()
	}
	p := s.page(r, fl, "passkey", "Face, fingerprint, PIN or security key")
	p.Action, p.OtherWay = pathOf(fl, "login"), true
	if fl.Session != nil {
		p.Action, p.OtherWay = "/common/SAS/ProcessAuth", false
		s.otherMethods(&p, r, fl, session.MethodKey)
	}
	if strings.ToLower(r.Host) == relyingParty {
		p.Action = strings.TrimSuffix(web.LoginURL, "/") + p.Action
	}
	p.Config["pgid"], p.Config["urlPost"] = "ConvergedFido", p.Action
	p.Config["sFidoChallenge"], p.Config["arrFidoAllowList"] = string(fl.Challenge), allow
	return p
}

// loginPasskey takes an assertion, as a first factor or as a second.
func (s *Server) loginPasskey(w http.ResponseWriter, r *web.Request, fl *session.Flow) {
	u, key, err := s.checkAssertion(r, fl)
	if err != nil {
		r.Entry = s.flowEntry(r, fl)
		s.web.Mistake(r, "sign-in page: %v", web.AsSTSError(err).Why)
		s.web.Record(r, err)
		fl.Challenge = nil
		s.passkeyRefused(w, r, fl, err)
		return
	}
	fl.Challenge = nil
	method := claims.FIDO2
	if key.hello {
		method = claims.WindowsHello | claims.MarkRSA
	}
	if fl.Session != nil {
		fl.Session.ProveMFA(method, s.Now())
		fl.Session.AAGUID = key.AAGUID
		s.proceed(w, r, fl)
		return
	}
	ss := s.keeper.NewSession(u, method)
	ss.ProveMFA(method, s.Now())
	ss.AAGUID = key.AAGUID
	s.signedIn(w, r, fl, ss)
}

func (s *Server) checkAssertion(r *web.Request, fl *session.Flow) (*directory.User, *shownPasskey, error) {
	wrong := web.InvalidGrant(135003, "Your passkey could not be verified. Try signing in another way.")
	if fl.Challenge == nil {
		return nil, nil, wrong.Because("no challenge was given")
	}
	now := s.Now()
	if now.Unix() >= fl.Until {
		return nil, nil, wrong.Because("the challenge is too old")
	}
	if !s.keeper.Pending.Redeem("fido "+string(fl.Challenge), fl.Until, now) {
		return nil, nil, wrong.Because("the challenge was answered before")
	}
	a, err := verify.ParseAssertion(r.Values.Get("assertion"))
	if err != nil {
		return nil, nil, wrong.Because("%v", err)
	}
	u, k, err := s.passkeyFor(fl, a.ID, wrong)
	if err != nil {
		return nil, nil, err
	}
	if err := a.Verify(k.Key, fl.Challenge, fidoParties(r)); err != nil {
		return nil, nil, wrong.Because("%v", err)
	}
	named := fl.Session != nil || fl.Username != ""
	if !k.hello && (len(a.UserHandle) > 0 || !named) && !bytes.Equal(a.UserHandle, k.Handle) {
		return nil, nil, wrong.Because("user handle %q is not that of the passkey's user", web.Clip(string(a.UserHandle)))
	}
	if err := s.dir.CountPasskey(u.UPN, k.ID, a.Count()); err != nil {
		return nil, nil, wrong.Because("%v", err)
	}
	return u, k, nil
}

// passkeyFor finds a passkey that may answer in the flow: of whoever was named,
// and as a second factor only where one is asked for. A Hello key is none: the
// user has to begin with it (Entra, "Conditional Access authentication strength",
// limitations).
func (s *Server) passkeyFor(fl *session.Flow, id string, wrong *web.STSError) (*directory.User, *shownPasskey, error) {
	u := s.passkeyUser(id)
	if u == nil {
		return nil, nil, wrong.Because("no user has the passkey %s", web.Clip(id))
	}
	keys := s.passkeysOf(u)
	i := slices.IndexFunc(keys, func(k shownPasskey) bool { return k.ID == id })
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
	if _, ok := session.SecondFactor(u, fl, session.MethodKey); !ok || keys[i].hello {
		return nil, nil, wrong.Because("the passkey is no second factor here")
	}
	return u, &keys[i], nil
}

// fidoParties are the origins that may sign in with their relying party ids:
// the real one and, for browsers on this machine, loopback.
func fidoParties(r *web.Request) map[string]string {
	out := map[string]string{fidoOrigin: relyingParty}
	if strings.HasPrefix(r.Host, "localhost:") {
		out["http://"+r.Host] = "localhost"
	}
	return out
}

func (s *Server) passkeyUser(id string) *directory.User {
	if u, _ := s.dir.HelloUser(helloKeyOf(id)); u != nil {
		return u
	}
	return s.dir.PasskeyUser(id)
}
