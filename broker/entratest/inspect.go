package entratest

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
)

// UserStatus is the state of a user in the directory.
type UserStatus struct {
	ID, Username, Name string
	Password           string // in the clear, since this is not a real user
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
	NumberPrompt       bool // a number prompt is pending in the authenticator app; see Server.AnswerNumberMatch
}

// HelloKey is a registered Windows Hello for Business key.
type HelloKey struct {
	ID       string // id that the service gave the key
	DeviceID string
	Created  time.Time
}

// Users returns the users of all tenants, by name.
func (s *Server) Users() []UserStatus {
	w, now := s.world(), s.Now()
	list := w.dir.Users()
	out := make([]UserStatus, 0, len(list))
	for _, u := range list {
		st := statusOf(u)
		for _, g := range w.dir.Memberships(u) {
			st.Groups = append(st.Groups, g.Name)
		}
		slices.Sort(st.Groups)
		st.NumberPrompt = w.keeper.Pending.PromptWaits(u.ID, now)
		out = append(out, st)
	}
	return out
}

func statusOf(u *directory.User) UserStatus {
	st := UserStatus{
		ID: u.ID, Username: u.UPN, Name: u.Name, Password: u.Password, Guest: u.Guest, Federated: u.Tenant.IsFederated(u.UPN), Disabled: u.Disabled,
		PasswordExpired: u.PasswordExpired, LockedUntil: u.LockedUntil,
		UserRisk: orNone(u.UserRisk), SignInRisk: orNone(u.SignInRisk),
	}
	has := func(on bool, names ...string) {
		if on {
			st.Methods = append(st.Methods, names...)
		}
	}
	has(u.Password != "", "password")
	has(u.TOTP != nil, "one-time code")
	has(u.Hardware != nil, "hardware token")
	has(u.NumberMatch, "number match")
	has(u.PhoneSignIn, "phone sign-in")
	has(u.Phone != "", "text message", "call")
	has(len(u.Passkeys) > 0, "passkey")
	has(u.HasAccessPass(), "temporary access pass")
	has(u.Certified, "certificate")
	has(len(u.Hello) > 0, "Windows Hello")
	for _, k := range u.Hello {
		st.HelloKeys = append(st.HelloKeys, HelloKey{k.ID, k.DeviceID, k.Created})
	}
	return st
}

func orNone(risk string) string {
	if risk == "" {
		return "none"
	}
	return risk
}

// AppName returns the name of the application with a client id, in any tenant, or
// the id itself if the application is unknown.
func (s *Server) AppName(id string) string { return s.world().dir.AppName(id) }

// Policies returns the Conditional Access export of the first tenant, as it was
// given, or nil if the tenant has no policies.
func (s *Server) Policies() json.RawMessage {
	dir := s.world().dir
	if rules := dir.AccessRules(dir.Home()); rules != nil {
		return slices.Clone(rules.Raw)
	}
	return nil
}

// PolicyNames returns the names of the policies of the first tenant, followed by
// the state of a policy unless it is enabled.
func (s *Server) PolicyNames() []string {
	dir := s.world().dir
	return dir.PolicyNames(dir.Home())
}
