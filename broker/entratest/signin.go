package entratest

import (
	"cmp"
	"errors"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/passkeys"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
)

// page returns what all pages of a flow share.
func (s *Server) page(r *web.Request, fl *session.Flow, name, title string) pages.Page {
	ctx := s.keeper.SealFlow(fl)
	canary := s.keeper.Box.Seal(session.KindFlow, "canary") // nothing checks it: see the package documentation
	p := pages.Page{
		Name: name, Title: title, Username: fl.Username, Nonce: s.pageNonce(),
		Hidden: []pages.Field{{Name: "ctx", Value: ctx}, {Name: "flowToken", Value: ctx}, {Name: "canary", Value: canary},
			{Name: "client-request-id", Value: web.CorrelationID(r.Request)}},
		FormAct: s.formTargets(fl),
		Config: map[string]any{
			"sFTName": "flowToken", "sCanaryTokenName": "canary",
			"sFT": ctx, "sCtx": ctx, "canary": canary, "sCrossDomainCanary": canary, "apiCanary": canary,
			"sessionId": s.rand.GUID(), "correlationId": web.CorrelationID(r.Request),
			"urlGetCredentialType": absolute(r, pathOf(fl, "GetCredentialType")),
			"urlBeginAuth":         absolute(r, "/common/SAS/BeginAuth"), "urlEndAuth": absolute(r, "/common/SAS/EndAuth"),
			"urlGetOneTimeCode": absolute(r, pathOf(fl, "GetOneTimeCode")), "urlSessionState": absolute(r, pathOf(fl, "DeviceCodeStatus")),
			"fIsPasskeySupportEnabled": !s.opts.Pages.SecurityKeysOnly, "iMaxPollAttempts": 60, "iPollingInterval": 1000,
		},
	}
	offerFido(&p, r, fl)
	if t := s.dir.TenantOf(fl.Username); t != nil {
		p.Tenant = t.Name
	}
	return p
}

// absolute is where a path is on the host that the page came from. In $Config the
// real pages name the endpoints that scripts call in full, and so the forms of the
// two factors (pages captured by the authors of saml2aws); interrupts such as the
// question to stay signed in are sent to by their path.
func absolute(r *web.Request, path string) string {
	if base := web.LocalBase(r.Request); base != "" {
		return strings.TrimSuffix(base, "/") + path
	}
	if !web.IsLoginHost(strings.ToLower(r.Host)) { // see BrowserURL
		return "http://" + r.Host + path
	}
	return "https://" + r.Host + path
}

func (s *Server) pageNonce() string { return ids.Hex(s.rand.Bytes(16)) }

func pathOf(fl *session.Flow, name string) string {
	t := fl.Request.Tenant
	if t == "" {
		t = "common"
	}
	return "/" + t + "/" + name
}

// formTargets are where the forms of a sign-in may lead. Browsers hold
// redirects against them too: to the app, to the host of passkeys and back, and
// to federation servers.
func (s *Server) formTargets(fl *session.Flow) string {
	targets := []string{formTarget(fl.Request.Redirect), passkeys.Origin, strings.TrimSuffix(web.LoginURL, "/")}
	for _, t := range s.dir.Tenants() {
		for _, domain := range slices.Sorted(maps.Keys(t.Federated)) {
			targets = append(targets, "https://"+directory.FederationHost(domain))
		}
	}
	return strings.Join(targets, " ")
}

// formTarget is where a form may lead when it ends in a redirect.
func formTarget(redirect string) string {
	u, err := url.Parse(redirect)
	switch {
	case err != nil || u.Scheme == "":
		return ""
	case u.Scheme == "http" || u.Scheme == "https":
		return u.Scheme + "://" + u.Host
	}
	return u.Scheme + ":"
}

func (s *Server) showSignIn(w http.ResponseWriter, r *web.Request, fl *session.Flow, err error) {
	s.passkeys.Challenge(fl)
	p := s.page(r, fl, "signin", "Sign in")
	if name := s.AppName(fl.Request.Client); name != fl.Request.Client {
		p.App = name
	}
	p.Action = pathOf(fl, "login")
	p.Config["pgid"], p.Config["urlPost"] = "ConvergedSignIn", absolute(r, p.Action)
	p.Config["sFidoChallenge"] = string(fl.Challenge)
	s.offerCertificate(&p, r, fl)
	web.Explain(&p, err)
	p.Write(w, http.StatusOK)
}

func (s *Server) showAccessPass(w http.ResponseWriter, r *web.Request, fl *session.Flow, err error) {
	p := s.page(r, fl, "accesspass", "Enter your temporary access pass")
	p.Action = pathOf(fl, "login")
	p.Config["pgid"], p.Config["urlPost"] = "ConvergedSignIn", absolute(r, p.Action)
	web.Explain(&p, err)
	p.Write(w, http.StatusOK)
}

// login takes what the sign-in pages send.
func (s *Server) login(w http.ResponseWriter, r *web.Request) {
	if s.answerDevice(w, r) {
		return
	}
	fl, err := s.keeper.OpenFlow(flowField(r))
	if err != nil {
		s.errorPage(w, r, err)
		return
	}
	if name := strings.TrimSpace(r.Values.Get("login")); name != "" {
		fl.Username = name
	}
	pass := r.Values.Get("credential") == "accesspass" || r.Values.Get("accesspass") != ""
	if u := s.dir.User(fl.Username); pass && u != nil && u.FederatedMFA() {
		// With enforceMfaByFederatedIdp a federated user is sent to the federation
		// server and not asked for a pass ("Configure Temporary Access Pass").
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

// flowField finds the sealed flow under the names that programs send it by.
func flowField(r *web.Request) string {
	for _, name := range []string{"ctx", "request", "flowToken", "flowtoken"} {
		if v := r.Values.Get(name); v != "" {
			return v
		}
	}
	return ""
}

func (s *Server) loginPassword(w http.ResponseWriter, r *web.Request, fl *session.Flow) {
	if t := s.dir.TenantOf(fl.Username); t != nil && t.IsFederated(fl.Username) {
		s.toFederation(w, r, fl)
		return
	}
	u, err := s.keeper.CheckPassword(s.keeper.FlowTenant(fl), fl.Username, r.Values.Get("passwd"))
	if err != nil {
		r.Entry = s.flowEntry(r, fl)
		s.web.Mistake(r, "sign-in page: %v", err)
		s.web.Record(r, err)
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

func (s *Server) signedInByPassword(w http.ResponseWriter, r *web.Request, fl *session.Flow, u *directory.User) {
	ss := s.keeper.NewSession(u, claims.Password)
	ss.Password = true
	s.signedIn(w, r, fl, ss)
}

// signedIn goes on after a first factor.
func (s *Server) signedIn(w http.ResponseWriter, r *web.Request, fl *session.Flow, ss session.Session) {
	fl.SignOut()
	fl.Session = &ss
	if s.opts.Pages.Intermediate {
		p := s.page(r, fl, "working", "Working...")
		p.Action = absolute(r, pathOf(fl, "resume"))
		p.Write(w, http.StatusOK)
		return
	}
	s.proceed(w, r, fl)
}

// resume goes on with a sign-in where it stood: the page that posts itself leads
// here, the page of a passkey that was cancelled, and the link to put off a
// registration.
func (s *Server) resume(w http.ResponseWriter, r *web.Request) {
	q := r.URL.Query()
	fl, err := s.keeper.OpenFlow(cmp.Or(q.Get("ctx"), flowField(r)))
	if err != nil {
		s.errorPage(w, r, err)
		return
	}
	if q.Get("skipmfaregistration") == "1" {
		fl.PutOff = fl.MayPutOff
	}
	s.proceed(w, r, fl)
}

func (s *Server) errorPage(w http.ResponseWriter, r *web.Request, err error) {
	e := web.AsSTSError(err)
	s.web.Mistake(r, "error page AADSTS%d: %s", e.Code, strings.TrimSpace(e.Text+" "+e.Why))
	p := pages.Page{Name: "message", Title: "Sign-in failed", Nonce: s.pageNonce(), Error: e.Error(), Code: e.Code,
		Config: map[string]any{"pgid": "ConvergedError", "sErrorCode": strconv.Itoa(e.Code), "iErrorCode": e.Code, "sErrTxt": e.Text,
			"strServiceExceptionMessage": e.Error(), "correlationId": web.CorrelationID(r.Request),
			"sessionId": s.rand.GUID(), "canary": s.keeper.Box.Seal(session.KindFlow, "canary")}}
	status := http.StatusOK // of a page for a person, whatever it says
	if e.OAuth == "server_error" {
		status = http.StatusInternalServerError
	}
	p.Write(w, status)
}

func (s *Server) showMessage(w http.ResponseWriter, _ *web.Request, title, text string) {
	p := pages.Page{Name: "message", Title: title, Text: text, Nonce: s.pageNonce(), Config: map[string]any{"pgid": "ConvergedMessage"}}
	p.Write(w, http.StatusOK)
}

// nativeClient is the page behind the redirect URI of desktop programs, which
// take the code from the address of their web view.
func (s *Server) nativeClient(w http.ResponseWriter, r *web.Request) {
	if code := r.URL.Query().Get("error"); code != "" {
		s.showMessage(w, r, "Sign-in failed", "The program that asked for the sign-in was told: "+web.Clip(code)+".")
		return
	}
	s.showMessage(w, r, "Back to the program", "The program takes over from here. You may close this window.")
}

func (s *Server) showUserCode(w http.ResponseWriter, _ *web.Request, code string, wrong int) {
	p := pages.Page{Name: "usercode", Title: "Enter code", Username: code, Action: "/common/oauth2/deviceauth",
		Nonce: s.pageNonce(), Config: map[string]any{"pgid": "ConvergedRemoteConnect"}}
	switch wrong {
	case 90119:
		web.Explain(&p, web.InvalidRequest(90119, "Enter the code."))
	case 70018:
		web.Explain(&p, web.InvalidRequest(70018, "That code didn't work. Check the code and try again."))
	case 70019:
		web.Explain(&p, web.InvalidRequest(70019, "That code has expired."))
	case 90120:
		web.Explain(&p, web.InvalidRequest(90120, "That code was used already."))
	}
	p.Write(w, http.StatusOK)
}

func (s *Server) showFormPost(w http.ResponseWriter, _ *web.Request, to string, values url.Values) {
	p := pages.Page{Name: "formpost", Title: "Working…", To: template.URL(to), FormAct: formTarget(to), Nonce: s.pageNonce(), Config: map[string]any{}}
	for _, name := range sortedKeys(values) {
		p.Hidden = append(p.Hidden, pages.Field{Name: name, Value: values.Get(name)})
	}
	p.Write(w, http.StatusOK)
}

// showConfirm asks the user of a device code which app is to be signed in:
// somebody else may have sent the code.
func (s *Server) showConfirm(w http.ResponseWriter, r *web.Request, fl *session.Flow, client *directory.App) {
	p := s.page(r, fl, "confirm", "Are you trying to sign in to "+client.Name+"?")
	p.Action = "/appverify"
	p.Config["pgid"], p.Config["urlPost"] = "CmsiInterrupt", p.Action
	p.Write(w, http.StatusOK)
}

// appVerify takes the answer of the page that names the app.
func (s *Server) appVerify(w http.ResponseWriter, r *web.Request) {
	fl, _, err := s.openFactorFlow(flowField(r))
	if err == nil && fl.DeviceCode == "" {
		err = web.InvalidRequest(90023, "The request is not valid.").Because("no device waits for the answer")
	}
	if err != nil {
		s.errorPage(w, r, err)
		return
	}
	if r.Values.Get("confirm") != "continue" {
		s.keeper.Pending.Settle(fl.DeviceCode, session.LoginPending, session.LoginDeclined, session.Session{})
		s.showMessage(w, r, "You have not signed in", "The app or device will not be signed in. You may close this window.")
		return
	}
	fl.Confirmed = true
	s.proceed(w, r, fl)
}

func (s *Server) showKMSI(w http.ResponseWriter, r *web.Request, fl *session.Flow) {
	p := s.page(r, fl, "kmsi", "Stay signed in?")
	p.Action = "/kmsi"
	p.Config["pgid"], p.Config["urlPost"] = "KmsiInterrupt", p.Action
	p.Write(w, http.StatusOK)
}

// kmsi takes the answer of the page that asks to stay signed in.
func (s *Server) kmsi(w http.ResponseWriter, r *web.Request) {
	fl, err := s.keeper.OpenFlow(flowField(r))
	if err != nil {
		s.errorPage(w, r, err)
		return
	}
	fl.KMSI = true
	s.proceed(w, r, fl)
}
