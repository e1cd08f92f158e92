package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// errRequest means that the request itself is malformed, whatever the tenant holds.
var errRequest = errors.New("malformed request")

// A route is one operation; the OpenAPI document is built from the same values.
type route struct {
	method, path, summary string
	in, out               reflect.Type // nil: none
	do                    func(a *api, r *http.Request, body []byte) (any, error)
}

// get is a route without a request body.
func get[Out any](path, summary string, do func(a *api, r *http.Request) (Out, error)) route {
	return route{http.MethodGet, path, summary, nil, reflect.TypeFor[Out](), func(a *api, r *http.Request, body []byte) (any, error) {
		if len(body) != 0 {
			return nil, fmt.Errorf("%w: this request takes no body", errRequest)
		}
		return do(a, r)
	}}
}

// act is a route with neither request body nor reply.
func act(method, path, summary string, do func(a *api, r *http.Request) error) route {
	return route{method, path, summary, nil, nil, func(a *api, r *http.Request, body []byte) (any, error) {
		if len(body) != 0 {
			return nil, fmt.Errorf("%w: this request takes no body", errRequest)
		}
		return nil, do(a, r)
	}}
}

// put is a route with a request body and no reply.
func put[In any](method, path, summary string, do func(a *api, r *http.Request, in In) error) route {
	return route{method, path, summary, reflect.TypeFor[In](), nil, func(a *api, r *http.Request, body []byte) (any, error) {
		var in In
		if err := decode(body, &in); err != nil {
			return nil, err
		}
		return nil, do(a, r, in)
	}}
}

// ask is a route with a request body and a reply.
func ask[In, Out any](path, summary string, do func(a *api, r *http.Request, in In) (Out, error)) route {
	return route{http.MethodPost, path, summary, reflect.TypeFor[In](), reflect.TypeFor[Out](), func(a *api, r *http.Request, body []byte) (any, error) {
		var in In
		if err := decode(body, &in); err != nil {
			return nil, err
		}
		return do(a, r, in)
	}}
}

func decode(body []byte, in any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(in); err != nil {
		return fmt.Errorf("%w: %w", errRequest, err)
	}
	if d.More() {
		return fmt.Errorf("%w: text after the JSON value", errRequest)
	}
	return nil
}

// Request and reply bodies that are not types of package entratest.
type (
	tenantInfo struct {
		Domain, TenantID string
		Now              time.Time
	}
	passwordChange struct {
		Password string
		// ByAdministrator makes this a reset, which ends every session of the user.
		ByAdministrator bool
	}
	newName   struct{ Username, Name string }
	risk      struct{ User, SignIn string }
	onOff     struct{ On bool }
	newPass   struct{ Once bool }
	issued    struct{ Pass string }
	phoneCode struct {
		TOTP      string // of the authenticator app; "": no app
		Until     time.Time
		SMS       string // in the newest text message; "": no message
		NumberAsk bool   // a number prompt is pending
	}
	numberAnswer struct{ Number int }
	callAnswer   struct{ Approve bool }
	compliance   struct{ Compliant bool }
	clockMove    struct{ Advance string } // such as 4h
	clockTime    struct{ Now time.Time }
	lag          struct{ Lag string } // such as 30s; 0s: none
	claimSet     struct{ Claims map[string]any }
	minted       struct{ Token string }
	pasted       struct{ Token string }
	fault        struct {
		Endpoint, Kind    string
		Nth, Times        int
		Delay, RetryAfter string // such as 2s
		Status, Code      int
		Error, Suberror   string
	}
)

func user(r *http.Request) string { return r.PathValue("user") }

// onUser is an action on a user without further arguments.
func onUser(event, summary string, do func(s *entratest.Server, user string) error) route {
	return act(http.MethodPost, "/users/{user}/"+event, summary, func(a *api, r *http.Request) error { return do(a.srv, user(r)) })
}

// onDevice is an action on a device without further arguments.
func onDevice(event, summary string, do func(s *entratest.Server, id string) error) route {
	return act(http.MethodPost, "/devices/{device}/"+event, summary, func(a *api, r *http.Request) error { return do(a.srv, r.PathValue("device")) })
}

var routes = []route{
	get("/tenant", "The tenant and its time", func(a *api, _ *http.Request) (tenantInfo, error) {
		return tenantInfo{a.srv.Domain(), a.srv.TenantID(), a.srv.Now()}, nil
	}),

	get("/users", "All users", func(a *api, _ *http.Request) ([]entratest.UserStatus, error) { return a.srv.Users(), nil }),
	put(http.MethodPost, "/users", "Adds a user", func(a *api, _ *http.Request, u entratest.User) error { return a.srv.AddUser(u) }),
	act(http.MethodDelete, "/users/{user}", "Deletes a user", func(a *api, r *http.Request) error { return a.srv.DeleteUser(user(r)) }),
	onUser("disable", "Disables a user", (*entratest.Server).DisableUser),
	onUser("enable", "Enables a user again", (*entratest.Server).EnableUser),
	onUser("revoke", "Revokes all sessions of a user", (*entratest.Server).Revoke),
	onUser("expire-password", "Lets a user's password expire", (*entratest.Server).ExpirePassword),
	put(http.MethodPut, "/users/{user}/password", "Changes or resets a user's password", func(a *api, r *http.Request, in passwordChange) error {
		if in.ByAdministrator {
			return a.srv.ResetPassword(user(r), in.Password)
		}
		return a.srv.ChangePassword(user(r), in.Password)
	}),
	put(http.MethodPut, "/users/{user}/name", "Gives a user another user name or display name; an empty one stays", func(a *api, r *http.Request, in newName) error {
		return a.srv.RenameUser(user(r), in.Username, in.Name)
	}),
	put(http.MethodPut, "/users/{user}/risk", "Sets the risk of a user and of the user's next sign-ins: none, low, medium or high", func(a *api, r *http.Request, in risk) error {
		return a.srv.SetRisk(user(r), in.User, in.SignIn)
	}),
	put(http.MethodPut, "/users/{user}/require-mfa", "Enables or disables MFA for one user, whatever Conditional Access says", func(a *api, r *http.Request, in onOff) error {
		return a.srv.RequireMFA(user(r), in.On)
	}),
	get("/users/{user}/codes", "The codes that the user's phone shows", codes),
	put(http.MethodPost, "/users/{user}/number", "Answers the number prompt on the user's phone", func(a *api, r *http.Request, in numberAnswer) error {
		if !a.srv.AnswerNumberMatch(user(r), in.Number) {
			return errors.New("no prompt with that number is waiting")
		}
		return nil
	}),
	put(http.MethodPost, "/users/{user}/call", "Answers the call to the user's phone", func(a *api, r *http.Request, in callAnswer) error {
		if !a.srv.AnswerCall(user(r), in.Approve) {
			return errors.New("no call is waiting")
		}
		return nil
	}),
	ask("/users/{user}/access-pass", "Creates a Temporary Access Pass", func(a *api, r *http.Request, in newPass) (issued, error) {
		pass, err := a.srv.CreateAccessPass(user(r), in.Once)
		return issued{pass}, err
	}),
	act(http.MethodDelete, "/users/{user}/access-pass", "Deletes the user's access pass", func(a *api, r *http.Request) error { return a.srv.DeleteAccessPass(user(r)) }),

	put(http.MethodPost, "/apps", "Adds an application, or replaces the one of its client id", func(a *api, _ *http.Request, in entratest.App) error { return a.srv.AddApp(in) }),
	put(http.MethodPost, "/groups", "Adds a group", func(a *api, _ *http.Request, in entratest.Group) error { return a.srv.AddGroup(in) }),

	get("/apps", "The applications that were added to the tenant", func(a *api, _ *http.Request) ([]entratest.App, error) { return a.srv.Apps(), nil }),
	get("/groups", "All groups with their direct members", func(a *api, _ *http.Request) ([]entratest.GroupStatus, error) { return a.srv.Groups(), nil }),
	get("/consents", "What users allowed clients to do", func(a *api, _ *http.Request) ([]entratest.Consent, error) { return a.srv.Consents(), nil }),
	act(http.MethodDelete, "/users/{user}/consents/{client}", "Forgets what a user allowed a client", func(a *api, r *http.Request) error {
		return a.srv.WithdrawConsent(user(r), r.PathValue("client"))
	}),

	get("/devices", "All devices", func(a *api, _ *http.Request) ([]entratest.DeviceStatus, error) { return a.srv.Devices(), nil }),
	act(http.MethodDelete, "/devices/{device}", "Deletes a device", func(a *api, r *http.Request) error { return a.srv.DeleteDevice(r.PathValue("device")) }),
	onDevice("disable", "Disables a device", (*entratest.Server).DisableDevice),
	onDevice("enable", "Enables a device again", (*entratest.Server).EnableDevice),
	onDevice("restore", "Restores a deleted device", (*entratest.Server).RestoreDevice),
	put(http.MethodPut, "/devices/{device}/compliant", "Says whether device management calls the device compliant", func(a *api, r *http.Request, in compliance) error {
		return a.srv.SetCompliant(r.PathValue("device"), in.Compliant)
	}),

	get("/policies", "The Conditional Access policies, as they were set", func(a *api, _ *http.Request) (json.RawMessage, error) {
		if p := a.srv.Policies(); len(p) != 0 {
			return p, nil
		}
		return json.RawMessage("[]"), nil
	}),
	put(http.MethodPut, "/policies", "Replaces the Conditional Access policies, as Microsoft Graph exports them", func(a *api, _ *http.Request, in json.RawMessage) error {
		return a.srv.SetPolicies(in)
	}),

	put(http.MethodPost, "/faults", "Makes something go wrong", addFault),
	act(http.MethodDelete, "/faults", "Ends all faults", func(a *api, _ *http.Request) error { a.srv.ClearFaults(); return nil }),

	get("/quirks", "In what the tenant differs from OpenID Connect, as Entra does; docs/quirks.md describes it", func(a *api, _ *http.Request) ([]entratest.QuirkStatus, error) {
		return a.srv.Quirks(), nil
	}),
	put(http.MethodPut, "/quirks/{quirk}", "Turns a quirk on or off", func(a *api, r *http.Request, in onOff) error {
		return a.srv.SetQuirk(entratest.Quirk(r.PathValue("quirk")), in.On)
	}),
	put(http.MethodPut, "/directory-lag", "Sets how long the sign-in service does not know what was just added", func(a *api, _ *http.Request, in lag) error {
		d, err := time.ParseDuration(in.Lag)
		if err != nil {
			return fmt.Errorf("%w: lag: %w", errRequest, err)
		}
		a.srv.SetDirectoryLag(d)
		return nil
	}),
	get("/signing-keys", "The published signing keys, oldest first", func(a *api, _ *http.Request) ([]entratest.SigningKey, error) {
		return a.srv.SigningKeys(), nil
	}),
	act(http.MethodPost, "/signing-keys/publish-next", "Publishes the next signing key ahead of its use", func(a *api, _ *http.Request) error { return a.srv.PublishNextKey() }),
	act(http.MethodPost, "/signing-keys/use-next", "Signs with the next key from now on", func(a *api, _ *http.Request) error { return a.srv.UseNextKey() }),
	act(http.MethodPost, "/signing-keys/drop-former", "Publishes former signing keys no longer", func(a *api, _ *http.Request) error { a.srv.DropFormerKeys(); return nil }),

	get("/sign-ins", "The sign-in log, oldest first", func(a *api, _ *http.Request) ([]entratest.SignIn, error) { return a.srv.SignIns(), nil }),
	get("/sign-ins/{seq}", "One sign-in as Entra's log details it, with the reason of each policy", func(a *api, r *http.Request) (entratest.SignInDetail, error) {
		seq, err := strconv.ParseInt(r.PathValue("seq"), 10, 64)
		if err != nil {
			return entratest.SignInDetail{}, fmt.Errorf("%w: the number of a sign-in: %w", errRequest, err)
		}
		d, ok := a.srv.SignInDetail(seq)
		if !ok {
			return d, errors.New("the log has no such sign-in")
		}
		return d, nil
	}),
	get("/prts", "The Primary Refresh Tokens that were issued", func(a *api, _ *http.Request) ([]entratest.PRTStatus, error) { return a.srv.PRTs(), nil }),

	ask("/clock", "Moves the tenant's clock", moveClock),
	ask("/tokens/inspect", "Says what is in a token and whether it is valid here; nothing is kept", func(a *api, _ *http.Request, in pasted) (entratest.TokenReport, error) {
		return a.srv.InspectToken(in.Token), nil
	}),
	act(http.MethodPost, "/reset", "Puts the tenant back to its start: users, devices, policies, sign-ins, faults, clock; what was issued before is refused", func(a *api, _ *http.Request) error {
		return a.srv.Reset()
	}),
	ask("/tokens", "Signs a token with any claims", func(a *api, _ *http.Request, in claimSet) (minted, error) {
		return minted{a.srv.MintToken(in.Claims)}, nil
	}),
}

func codes(a *api, r *http.Request) (phoneCode, error) {
	for _, u := range a.srv.Users() {
		if u.Username != user(r) {
			continue
		}
		c := phoneCode{NumberAsk: u.NumberPrompt}
		if code, until, err := a.srv.OneTimeCode(u.Username); err == nil {
			c.TOTP, c.Until = code, until
		}
		c.SMS, _ = a.srv.SMSCode(u.Username)
		return c, nil
	}
	return phoneCode{}, errors.New("no such user; give the full name, such as alice@contoso.example")
}

// maxMove bounds one move of the clock.
const maxMove = 10 * 366 * 24 * time.Hour

func moveClock(a *api, _ *http.Request, in clockMove) (clockTime, error) {
	d, err := time.ParseDuration(in.Advance)
	if err != nil {
		return clockTime{}, fmt.Errorf("%w: advance: %w", errRequest, err)
	}
	if a.clock == nil {
		return clockTime{}, errors.New("the tenant runs on real time, which cannot be moved")
	}
	if d.Abs() > maxMove {
		return clockTime{}, errors.New("the clock can be moved by at most 10 years")
	}
	a.clock.Advance(d)
	return clockTime{a.srv.Now()}, nil
}

func addFault(a *api, _ *http.Request, in fault) error {
	var kind entratest.FaultKind
	if err := kind.UnmarshalText([]byte(in.Kind)); err != nil {
		return fmt.Errorf("%w: %s", errRequest, strings.TrimPrefix(err.Error(), "entratest: "))
	}
	f := entratest.Fault{
		Endpoint: entratest.Endpoint(in.Endpoint), Kind: kind, Nth: in.Nth, Times: in.Times,
		Status: in.Status, Code: in.Code, Error: in.Error, Suberror: in.Suberror,
	}
	for _, d := range []struct {
		name, text string
		to         *time.Duration
	}{{"delay", in.Delay, &f.Delay}, {"retryAfter", in.RetryAfter, &f.RetryAfter}} {
		if d.text == "" {
			continue
		}
		var err error
		if *d.to, err = time.ParseDuration(d.text); err != nil {
			return fmt.Errorf("%w: %s: %w", errRequest, d.name, err)
		}
	}
	a.srv.AddFault(f)
	return nil
}
