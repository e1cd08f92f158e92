package entratest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/totp"
)

// UserStatus is what the directory tells of a user.
type UserStatus struct {
	ID, Username, Name string
	Password           string // in the clear: the user is not a real one
	Methods            []string
	HelloKeys          []HelloKey
	Groups             []string // names, transitive
	Guest              bool
	Federated          bool // signs in at the federation server of the domain
	Disabled           bool
	PasswordExpired    bool
	LockedUntil        time.Time // zero: not locked
	UserRisk           string    // none, low, medium, high
	SignInRisk         string
	NumberPrompt       bool // a prompt of the authenticator app waits; see Server.AnswerNumberMatch
}

// HelloKey is a registered Windows Hello for Business key.
type HelloKey struct {
	ID       string // the service's id of the key
	DeviceID string
	Created  time.Time
}

// Users returns the users of all tenants, by name.
func (s *Server) Users() []UserStatus {
	now := s.Now()
	list := s.dir.userList()
	out := make([]UserStatus, 0, len(list))
	for _, u := range list {
		st := statusOf(u)
		for _, g := range s.dir.memberships(u) {
			st.Groups = append(st.Groups, g.name)
		}
		slices.Sort(st.Groups)
		st.NumberPrompt = s.flow.promptWaits(u.id, now)
		out = append(out, st)
	}
	return out
}

func statusOf(u *user) UserStatus {
	st := UserStatus{
		ID: u.id, Username: u.upn, Name: u.name, Password: u.password, Guest: u.guest, Federated: u.tenant.isFederated(u.upn), Disabled: u.disabled,
		PasswordExpired: u.passwordExpired, LockedUntil: u.lockedUntil,
		UserRisk: orNone(u.userRisk), SignInRisk: orNone(u.signInRisk),
	}
	has := func(on bool, names ...string) {
		if on {
			st.Methods = append(st.Methods, names...)
		}
	}
	has(u.password != "", "password")
	has(u.totp != nil, "one-time code")
	has(u.hardware != nil, "hardware token")
	has(u.numberMatch, "number match")
	has(u.phoneSignIn, "phone sign-in")
	has(u.phone != "", "text message", "call")
	has(len(u.passkeys) > 0, "passkey")
	has(u.hasAccessPass(), "temporary access pass")
	has(u.certified, "certificate")
	has(len(u.hello) > 0, "Windows Hello")
	for _, k := range u.hello {
		st.HelloKeys = append(st.HelloKeys, HelloKey{k.id, k.deviceID, k.created})
	}
	return st
}

func orNone(risk string) string {
	if risk == "" {
		return "none"
	}
	return risk
}

// OneTimeCode is what the user's authenticator app shows now, and until when.
func (s *Server) OneTimeCode(username string) (code string, until time.Time, err error) {
	u := s.dir.user(s.dir.qualify(username))
	if u == nil {
		return "", time.Time{}, fmt.Errorf("%w: %s", errNoUser, username)
	}
	if u.totp == nil {
		return "", time.Time{}, errors.New("entratest: the user has no authenticator app with codes")
	}
	step := uint64(s.Now().Unix()) / totp.Step
	return totp.Code(u.totp, step), time.Unix(int64(step+1)*totp.Step, 0).UTC(), nil
}

// AppName is the name of an application, found by its client id in any tenant;
// an unknown one is its id.
func (s *Server) AppName(id string) string {
	for _, t := range s.dir.allTenants() {
		if a := s.dir.app(t, id); a != nil {
			return a.Name
		}
	}
	return id
}

// Policies is the Conditional Access export of the first tenant, as it was
// given; nil without policies.
func (s *Server) Policies() json.RawMessage {
	if rules := s.dir.accessRules(s.dir.home()); rules != nil {
		return slices.Clone(rules.raw)
	}
	return nil
}

// PolicyNames lists the names of the policies of the first tenant with their
// states, where it is not enabled.
func (s *Server) PolicyNames() []string {
	rules := s.dir.accessRules(s.dir.home())
	if rules == nil {
		return nil
	}
	var names []string
	for _, p := range rules.bundle.Policies {
		name := p.DisplayName
		if name == "" {
			name = p.ID
		}
		switch p.State {
		case "enabled":
		case "enabledForReportingButNotEnforced":
			name += " (report-only)"
		default:
			name += " (" + string(p.State) + ")"
		}
		names = append(names, name)
	}
	return names
}
