package entratest

import "fmt"

// Apps returns the applications that were added to the first tenant, by name.
// Microsoft's own are not among them. Ids that were derived are filled in.
func (s *Server) Apps() []App {
	out, dir := []App{}, s.world().dir
	for _, a := range dir.OwnApps(dir.Home()) {
		out = append(out, appOf(a))
	}
	return out
}

// GroupStatus is the state of a group.
type GroupStatus struct {
	ID, Name string
	Members  []string // direct members: user names and names of groups
}

// Groups returns the groups of the first tenant, by name.
func (s *Server) Groups() []GroupStatus {
	out, dir := []GroupStatus{}, s.world().dir
	for _, g := range dir.GroupsWithMembers(dir.Home()) {
		out = append(out, GroupStatus(g))
	}
	return out
}

// Consent is what a user allowed a client to do at a resource.
type Consent struct {
	Username string
	ClientID string
	Resource string // app id
	Scopes   []string
}

// Consents returns what users allowed clients on the pages. What an administrator
// allowed is in [App].
func (s *Server) Consents() []Consent {
	out := []Consent{}
	for _, c := range s.world().dir.Consents() {
		out = append(out, Consent{c.User.UPN, c.Client, c.Resource, c.Scopes})
	}
	return out
}

// WithdrawConsent forgets what a user allowed a client: the next request without
// another consent is refused (AADSTS65001).
func (s *Server) WithdrawConsent(username, clientID string) error {
	had, err := s.world().dir.WithdrawConsent(username, clientID)
	if err == nil && !had {
		err = fmt.Errorf("entratest: %s has not consented to the client %s", username, clientID)
	}
	return err
}
