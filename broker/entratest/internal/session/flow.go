package session

import (
	"cmp"
	"slices"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
)

// AuthRequest is an authorization request.
type AuthRequest struct {
	Tenant    string `json:"t"` // as named in the path
	V2        bool   `json:"2,omitempty"`
	Client    string `json:"c"`
	Redirect  string `json:"r,omitempty"`
	Mode      string `json:"m,omitempty"` // query, fragment, form_post
	IDToken   bool   `json:"i,omitempty"` // response_type names id_token
	NoCode    bool   `json:"y,omitempty"` // response_type does not name code
	State     string `json:"s,omitempty"`
	Nonce     string `json:"n,omitempty"`
	Resource  string `json:"v,omitempty"`
	Scope     string `json:"o,omitempty"`
	Challenge string `json:"h,omitempty"`
	Method    string `json:"d,omitempty"`
	Fresh     bool   `json:"f,omitempty"` // the request asks for ngcmfa
	MFA       bool   `json:"a,omitempty"` // the request asks for mfa
	Claims    string `json:"l,omitempty"`
	Prompt    string `json:"p,omitempty"`
	Hint      string `json:"u,omitempty"`
	Info      bool   `json:"j,omitempty"` // client_info=1
	Instance  bool   `json:"w,omitempty"` // instance_aware=true
	MaxAge    *int64 `json:"g,omitempty"` // max_age in seconds; nil: any

	AdminConsent bool `json:"b,omitempty"` // an administrator is to consent for the tenant; no code is issued
}

// TooOld reports whether the user signed in longer ago than the request allows.
func (a *AuthRequest) TooOld(ss *Session, now time.Time) bool {
	return a.MaxAge != nil && now.Unix()-ss.Auth >= *a.MaxAge
}

// Flow is an interactive sign-in in progress. It travels from page to page in a
// sealed form field, as the service's own does.
type Flow struct {
	Request    AuthRequest `json:"r"`
	Session    *Session    `json:"s,omitempty"` // nil: no user has signed in yet
	SSO        bool        `json:"o,omitempty"` // the session was established without a page
	Device     string      `json:"d,omitempty"` // proved by a device credential
	Key        []byte      `json:"k,omitempty"` // of the PRT that signed in
	DeviceCode string      `json:"c,omitempty"` // device code that waits for this sign-in
	Username   string      `json:"u,omitempty"` // typed or hinted
	Prompts    int         `json:"m,omitempty"` // how often the user was prompted for a second factor
	Prompt     string      `json:"n,omitempty"` // id of the prompt on the user's phone
	Accept     []string    `json:"l,omitempty"` // combinations of the required strength; nil: any second factor will do
	Enroll     []byte      `json:"e,omitempty"` // secret of the app being registered
	Challenge  []byte      `json:"h,omitempty"` // WebAuthn challenge
	Until      int64       `json:"j,omitempty"` // when Challenge expires; sealing the flow again does not extend it, and its use is remembered until then
	Expired    bool        `json:"b,omitempty"` // the password was right but must be changed
	Changed    bool        `json:"p,omitempty"` // it was changed, by the JSON endpoints
	Federated  bool        `json:"w,omitempty"` // the federation server was asked for MFA
	Failed     *Failure    `json:"f,omitempty"` // error that the next page shows
	MayPutOff  bool        `json:"v,omitempty"` // the page offered to postpone the registration
	PutOff     bool        `json:"1,omitempty"` // the user postponed it
	Reauth     bool        `json:"a,omitempty"` // the first factor was given again
	Consented  bool        `json:"y,omitempty"`
	KMSI       bool        `json:"q,omitempty"` // the page that asks to stay signed in was answered
	Confirmed  bool        `json:"i,omitempty"` // the page that names the app of a device code was answered
	Proved     bool        `json:"z,omitempty"` // the JSON endpoints accepted a second factor
	Challenged bool        `json:"g,omitempty"` // the browser was asked for proof of the device
	Terms      string      `json:"t,omitempty"` // id of the terms of use being shown
	Expires    int64       `json:"x"`
}

// FlowLife is how long a sign-in page may be left open.
const FlowLife = 15 * time.Minute

// SealFlow returns the sealed text of a flow, which expires after FlowLife.
func (k *Keeper) SealFlow(fl *Flow) string {
	fl.Expires = k.Now().Add(FlowLife).Unix()
	return k.Box.Seal(kindContext, fl)
}

// SignOut drops the session but keeps the device that it proved, since the next
// sign-in is on that device too.
func (fl *Flow) SignOut() {
	if fl.Session != nil {
		fl.Device = cmp.Or(fl.Device, fl.Session.Device)
	}
	fl.Session, fl.Key, fl.SSO = nil, nil, false
}

// OpenFlow opens the sealed flow that a page sent.
func (k *Keeper) OpenFlow(token string) (*Flow, error) {
	var fl Flow
	if err := k.Box.Open(kindContext, token, &fl); err != nil {
		return nil, web.InvalidRequest(90014, "The required field 'ctx' is missing from the credential. Ensure that you have all the necessary parameters for the login request.")
	}
	if k.Now().Unix() >= fl.Expires {
		return nil, web.InvalidGrant(50089, "Authentication failed due to flow token expired.")
	}
	return &fl, nil
}

// Allows reports whether the method, together with those that the session has,
// completes one of the combinations of a strength. Without a strength it must
// make the session MFA: a text message together with a certificate does not.
func Allows(combinations []string, method, have claims.Methods) bool {
	have = have.Modes() | method
	if combinations == nil {
		return have.MFA()
	}
	return slices.ContainsFunc(combinations, func(text string) bool {
		c, ok := claims.ParseModes(text)
		return ok && c&method != 0 && have.Has(c)
	})
}

// Failure is an error to be shown by a page of another host.
type Failure struct {
	Code int    `json:"c"`
	Text string `json:"t"`
}

// Err returns the error that f stands for, or nil if there is none.
func (f *Failure) Err() error {
	if f == nil {
		return nil
	}
	return web.InvalidGrant(f.Code, "%s", f.Text)
}

// FlowTenant returns the tenant that the request names, or nil if it is up to the
// user.
func (k *Keeper) FlowTenant(fl *Flow) *directory.Tenant {
	if web.MultiTenant(fl.Request.Tenant) || fl.Request.Tenant == "" {
		return nil
	}
	return k.Directory.Tenant(fl.Request.Tenant)
}
