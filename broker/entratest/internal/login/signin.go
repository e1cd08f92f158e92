package login

import (
	"cmp"
	"errors"
	"net/http"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
)

func (s *Pages) showSignIn(w http.ResponseWriter, r *web.Request, fl *session.Flow, err error) {
	s.Passkeys.Challenge(fl)
	p := s.newPage(r, fl, "signin", "Sign in")
	if name := s.Keeper.Directory.AppName(fl.Request.Client); name != fl.Request.Client {
		p.App = name
	}
	p.Action = pathOf(fl, "login")
	p.Config["pgid"], p.Config["urlPost"] = "ConvergedSignIn", absolute(r, p.Action)
	p.Config["sFidoChallenge"] = string(fl.Challenge)
	s.offerCertificate(&p, r, fl)
	web.Explain(&p, err)
	p.Write(w, http.StatusOK)
}

// posted handles the forms of the sign-in pages.
func (s *Pages) posted(w http.ResponseWriter, r *web.Request) {
	if s.answerDevice(w, r) {
		return
	}
	fl, err := s.Keeper.OpenFlow(flowField(r))
	if err != nil {
		s.ErrorPage(w, r, err)
		return
	}
	if name := strings.TrimSpace(r.Values.Get("login")); name != "" {
		fl.Username = s.Keeper.Directory.Invited(r.Tenant, name)
	}
	pass := r.Values.Get("credential") == "accesspass" || r.Values.Get("accesspass") != ""
	if u := s.Keeper.Directory.User(fl.Username); pass && u != nil && u.FederatedMFA() {
		// With enforceMfaByFederatedIdp a federated user is sent to the federation
		// server instead of being asked for a pass ("Configure Temporary Access Pass").
		s.toFederation(w, r, fl)
		return
	}
	switch {
	case r.Values.Get("credential") == "accesspass":
		s.showAccessPass(w, r, fl, nil)
	case r.Values.Get("credential") == "passkey":
		s.showPasskey(w, r, fl, nil)
	case r.Values.Get("credential") == "phone":
		s.showPhone(w, r, fl, nil, nil)
	case r.Values.Get("credential") == "password":
		s.showSignIn(w, r, fl, nil)
	case r.Values.Get("accesspass") != "":
		s.loginAccessPass(w, r, fl)
	case r.Values.Get("assertion") != "":
		s.loginPasskey(w, r, fl)
	case r.Values.Get("certificatetoken") != "":
		s.loginCertificate(w, r, fl)
	case r.Values.Get("psRNGCSLK") != "":
		s.loginPhone(w, r, fl, r.Values.Get("psRNGCSLK"))
	default:
		s.loginPassword(w, r, fl)
	}
}

// flowField finds the sealed flow under the field names that programs use.
func flowField(r *web.Request) string {
	for _, name := range []string{"ctx", "request", "flowToken", "flowtoken"} {
		if v := r.Values.Get(name); v != "" {
			return v
		}
	}
	return ""
}

func (s *Pages) loginPassword(w http.ResponseWriter, r *web.Request, fl *session.Flow) {
	if t := s.Keeper.Directory.TenantOf(fl.Username); t != nil && t.IsFederated(fl.Username) {
		s.toFederation(w, r, fl)
		return
	}
	u, err := s.Keeper.CheckPassword(s.Keeper.FlowTenant(fl), fl.Username, r.Values.Get("passwd"))
	if err != nil {
		r.Entry = s.flowEntry(r, fl)
		s.Web.Mistake(r, "sign-in page: %v", err)
		s.Web.Record(r, err)
		if errors.Is(err, session.ErrPasswordExpired) {
			fl.Expired = true
			s.showChangePassword(w, r, fl, nil)
			return
		}
		s.showSignIn(w, r, fl, err)
		return
	}
	s.signedInByPassword(w, r, fl, u)
}

func (s *Pages) signedInByPassword(w http.ResponseWriter, r *web.Request, fl *session.Flow, u *directory.User) {
	ss := s.Keeper.NewSession(u, claims.Password)
	ss.Password = true
	s.signedIn(w, r, fl, ss)
}

// signedIn continues after a first factor.
func (s *Pages) signedIn(w http.ResponseWriter, r *web.Request, fl *session.Flow, ss session.Session) {
	fl.SignOut()
	fl.Session = &ss
	if s.Traits.Intermediate {
		p := s.newPage(r, fl, "working", "Working...")
		p.Action = absolute(r, pathOf(fl, "resume"))
		p.Write(w, http.StatusOK)
		return
	}
	s.next(w, r, fl)
}

// resume continues a sign-in where it was: the page that posts itself leads here, as
// do a cancelled passkey page and the link that postpones a registration.
func (s *Pages) resume(w http.ResponseWriter, r *web.Request) {
	q := r.URL.Query()
	fl, err := s.Keeper.OpenFlow(cmp.Or(q.Get("ctx"), flowField(r)))
	if err != nil {
		s.ErrorPage(w, r, err)
		return
	}
	if q.Get("skipmfaregistration") == "1" {
		fl.PutOff = fl.MayPutOff
	}
	s.next(w, r, fl)
}

// nativeClient is the page behind the redirect URI of desktop programs, which
// take the code from the address of their web view.
func (s *Pages) nativeClient(w http.ResponseWriter, r *web.Request) {
	if code := r.URL.Query().Get("error"); code != "" {
		s.showMessage(w, r, "Sign-in failed", "The program that asked for the sign-in was told: "+web.Clip(code)+".")
		return
	}
	s.showMessage(w, r, "Back to the program", "The program takes over from here. You may close this window.")
}
