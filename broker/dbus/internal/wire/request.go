package wire

import (
	"encoding/json"
	"errors"
	"strings"
)

// A Request is the request of any method. Fields that a method does not use
// are empty. Members that no broker needs are not read: requestOptions,
// enrollmentId, password, onboardingBlob, isTestMode and others.
type Request struct {
	Account     Account
	ClientID    string
	RedirectURI string
	Authority   string
	Username    string
	Scopes      []string
	Claims      string // decoded JSON of a claims request
	Renew       string // the access token that the client does not want again
	Prompt      string
	SSOURL      string
	SignIn      bool // a sign-in that names no account
	PoP         *PoPParams
	// Status is that of cancelInteractiveFlow.
	Status Status
}

// PoPParams describe the request that a bound token is for.
type PoPParams struct {
	Scheme        string // "pop", or empty, which means the same; "bearer": no binding
	Method        string
	Host          string
	Path          string
	Nonce         string
	ClientClaims  string
	HomeAccountID string
	// KeyID is the thumbprint of a key of the client's own, to which the token
	// is bound. Empty: the broker's key, and the broker signs the request.
	KeyID string
}

var errScopes = errors.New("too many scopes")

// ParseRequest reads a request. The parameters may be in authParameters, at
// the root, or split between the two.
func ParseRequest(data string) (Request, error) {
	root, err := parse(data, MaxRequest)
	if err != nil {
		return Request{}, err
	}
	p := root.object("authParameters")
	text := func(name string) string {
		if s := p.text(name); s != "" {
			return s
		}
		return root.text(name)
	}
	r := Request{
		ClientID:    text("clientId"),
		RedirectURI: text("redirectUri"),
		Authority:   text("authority"),
		Username:    text("username"),
		Claims:      claimsText(p, root),
		Renew:       text("accessTokenToRenew"),
		Prompt:      text("prompt"),
		SSOURL:      text("ssoUrl"),
		SignIn:      p.flag("isSignIn") || root.flag("isSignIn"),
	}
	if r.Scopes = p.list("requestedScopes"); r.Scopes == nil {
		r.Scopes = root.list("requestedScopes")
	}
	if len(r.Scopes) > MaxScopes {
		return Request{}, errScopes
	}
	if r.Account = account(p.object("account")); r.Account.IsZero() {
		r.Account = account(root.object("account"))
	}
	if pop := p.object("popParams"); pop != nil {
		r.PoP = popParams(pop)
	} else if pop := root.object("popParams"); pop != nil {
		r.PoP = popParams(pop)
	}
	if e := root.object("error"); e != nil {
		n, _ := e.number("status")
		r.Status = Status(n)
	}
	return r, nil
}

// claimsText returns the claims request, which some clients send as an object
// instead of as text.
func claimsText(objects ...*object) string {
	for _, o := range objects {
		raw := o.raw("decodedClaims")
		if len(raw) > 0 && raw[0] == '{' {
			return string(raw)
		}
		if s := strings.TrimSpace(o.text("decodedClaims")); s != "" {
			return s
		}
	}
	return ""
}

// popParams reads the parameters of a bound token; nil when a bearer token is
// asked for.
func popParams(o *object) *PoPParams {
	p := &PoPParams{
		Scheme:        o.text("authenticationScheme"),
		Method:        o.text("httpMethod"),
		Host:          o.text("uriHost"),
		Path:          o.text("uriPath"),
		Nonce:         o.text("nonce"),
		ClientClaims:  o.text("clientClaims"),
		HomeAccountID: o.text("homeAccountId"),
		KeyID:         o.text("kid"),
	}
	if strings.EqualFold(p.Scheme, "bearer") || *p == (PoPParams{}) {
		return nil
	}
	return p
}

// Members of a request as MSAL sends them.
type requestJSON struct {
	Auth       *authJSON `json:"authParameters,omitempty"`
	Account    *Account  `json:"account,omitempty"`
	ClientID   string    `json:"clientId,omitempty"`
	Redirect   string    `json:"redirectUri,omitempty"`
	PoP        *popJSON  `json:"popParams,omitempty"`
	SSOURL     string    `json:"ssoUrl,omitempty"`
	MAM        *bool     `json:"mamEnrollment,omitempty"`
	CPPVersion string    `json:"msalCppVersion,omitempty"`
}

type authJSON struct {
	Renew      string            `json:"accessTokenToRenew"`
	Account    *Account          `json:"account"`
	Extra      map[string]string `json:"additionalQueryParametersForAuthorization"`
	Authority  string            `json:"authority"`
	Type       int               `json:"authorizationType"`
	ClientID   string            `json:"clientId"`
	Claims     string            `json:"decodedClaims"`
	SignIn     bool              `json:"isSignIn,omitempty"`
	PoP        *popJSON          `json:"popParams"`
	Prompt     string            `json:"prompt,omitempty"`
	Redirect   string            `json:"redirectUri"`
	Scopes     []string          `json:"requestedScopes"`
	SSOURL     string            `json:"ssoUrl,omitempty"`
	Username   string            `json:"username"`
	UXHandle   int               `json:"uxContextHandle"`
	Enrollment string            `json:"enrollmentId"`
	Password   string            `json:"password"`
}

type popJSON struct {
	Scheme string `json:"authenticationScheme,omitempty"`
	Claims string `json:"clientClaims"`
	Home   string `json:"homeAccountId"`
	Method string `json:"httpMethod"`
	Nonce  string `json:"nonce"`
	Host   string `json:"uriHost"`
	Path   string `json:"uriPath"`
	KeyID  string `json:"kid,omitempty"`
}

func (p *PoPParams) json() *popJSON {
	if p == nil {
		return nil
	}
	return &popJSON{
		Scheme: p.Scheme, Claims: p.ClientClaims, Home: p.HomeAccountID, Method: p.Method,
		Nonce: p.Nonce, Host: p.Host, Path: p.Path, KeyID: p.KeyID,
	}
}

func (r *Request) auth(kind int) *authJSON {
	a := &authJSON{
		Renew: r.Renew, Extra: map[string]string{}, Authority: r.Authority, Type: kind, ClientID: r.ClientID,
		Claims: r.Claims, SignIn: r.SignIn, PoP: r.PoP.json(), Prompt: r.Prompt, Redirect: r.RedirectURI,
		Scopes: r.Scopes, SSOURL: r.SSOURL, Username: r.Username, UXHandle: -1,
	}
	if !r.Account.IsZero() {
		a.Account = &r.Account
	}
	return a
}

// Marshal writes the request of a method.
func (r *Request) Marshal(method string) (string, error) {
	var v requestJSON
	switch method {
	case AcquireSilently:
		v.Auth = r.auth(AuthSilent)
	case AcquireInteractive:
		v.Auth = r.auth(AuthInteractive)
	case AcquireCookie:
		no := false
		v.Auth, v.SSOURL, v.MAM = r.auth(AuthCookie), r.SSOURL, &no
		v.Account = v.Auth.Account
	case SignHTTPRequest:
		v.ClientID, v.PoP = r.ClientID, r.PoP.json()
	case RemoveAccount:
		v.ClientID, v.Account = r.ClientID, &r.Account
	case GetVersion:
		v.CPPVersion = "0"
	case CancelInteractive:
		return marshal(ErrorReply{Error: NewError(UserCanceled, "the app canceled the sign-in")})
	default:
		v.ClientID, v.Redirect = r.ClientID, r.RedirectURI
	}
	return marshal(v)
}

func marshal(v any) (string, error) {
	text, err := json.Marshal(v)
	return string(text), err
}
