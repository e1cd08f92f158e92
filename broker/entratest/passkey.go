package entratest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/passkeys"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
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
	if host != passkeys.RelyingParty && web.IsLoginHost(host) {
		if err != nil {
			e := web.AsSTSError(err)
			fl.Failed = &session.Failure{Code: e.Code, Text: e.Text}
		}
		web.NoStore(w)
		writeRedirect(w, passkeys.Origin+pathOf(fl, "fido/get")+"?"+url.Values{"ctx": {s.keeper.SealFlow(fl)}}.Encode())
		return
	}
	p := s.passkeyPage(r, fl)
	web.Explain(&p, err)
	p.Write(w, http.StatusOK)
}

// passkeyPage is that page, with a challenge that is still good.
func (s *Server) passkeyPage(r *web.Request, fl *session.Flow) pages.Page {
	s.passkeys.Challenge(fl)
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
	if strings.ToLower(r.Host) == passkeys.RelyingParty {
		p.Action = strings.TrimSuffix(web.LoginURL, "/") + p.Action
	}
	p.Config["pgid"], p.Config["urlPost"] = "ConvergedFido", p.Action
	p.Config["sFidoChallenge"], p.Config["arrFidoAllowList"] = string(fl.Challenge), allow
	return p
}

// loginPasskey takes an assertion, as a first factor or as a second.
func (s *Server) loginPasskey(w http.ResponseWriter, r *web.Request, fl *session.Flow) {
	u, key, err := s.passkeys.Check(r, fl)
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
	if key.Hello {
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
