package main

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"

	"github.com/prtbroker/prtbroker/policy"
)

// roles.tsv lists template id and name of Entra's built-in roles (Microsoft
// Entra built-in roles, 2026).
//
//go:embed roles.tsv
var rolesTSV string

// wellKnownApps are resources that policies are most often about.
var wellKnownApps = []struct{ alias, name, id string }{
	{"exchange", "Office 365 Exchange Online", "00000002-0000-0ff1-ce00-000000000000"},
	{"sharepoint", "Office 365 SharePoint Online", "00000003-0000-0ff1-ce00-000000000000"},
	{"teams", "Microsoft Teams", "cc15fd57-2c6c-4117-a88c-83b1d56b4bbe"},
	{"graph", "Microsoft Graph", "00000003-0000-0000-c000-000000000000"},
	{"azure", "Windows Azure Service Management API", "797f4846-ba00-4fd7-ba43-dac1f8f63013"},
	{"portal", "Azure Portal", "c44b4083-3bb0-49c1-b47d-974e53cbdf3c"},
	{"directory", "Windows Azure Active Directory", "00000002-0000-0000-c000-000000000000"},
}

var guid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// names maps the ids of an export to names.
type names struct {
	byID map[string]string // lower-case id → name
	apps map[string]bool   // lower-case ids that some policy mentions as an application
}

func namesOf(b *policy.Bundle) names {
	n := names{byID: map[string]string{}, apps: map[string]bool{}}
	for _, a := range wellKnownApps {
		n.byID[a.id] = a.name
	}
	for line := range strings.Lines(rolesTSV) {
		id, name, _ := strings.Cut(strings.TrimSpace(line), "\t")
		n.byID[id] = spaced(name)
	}
	for _, s := range policy.BuiltInStrengths() {
		n.byID[s.ID] = s.DisplayName
	}
	for _, l := range b.Locations {
		n.byID[strings.ToLower(l.ID)] = l.DisplayName
	}
	for _, s := range b.Strengths {
		n.byID[strings.ToLower(s.ID)] = s.DisplayName
	}
	for i := range b.Policies {
		p := &b.Policies[i]
		if g := p.GrantControls; g != nil && g.AuthenticationStrength != nil && g.AuthenticationStrength.DisplayName != "" {
			n.byID[strings.ToLower(g.AuthenticationStrength.ID)] = g.AuthenticationStrength.DisplayName
		}
		if a := p.Conditions.Applications; a != nil {
			for _, id := range append(append([]string(nil), a.Include...), a.Exclude...) {
				n.apps[strings.ToLower(id)] = true
			}
		}
	}
	return n
}

// of returns the name of an id, or the id itself if it has none.
func (n names) of(id string) string {
	if name := n.byID[strings.ToLower(id)]; name != "" {
		return name
	}
	return id
}

// appID reads an application: an alias, a client id, or whatever else a
// policy of the export calls one.
func (n names) appID(s string) (string, error) {
	aliases := make([]string, len(wellKnownApps))
	for i, a := range wellKnownApps {
		if strings.EqualFold(a.alias, s) || strings.EqualFold(a.name, s) {
			return a.id, nil
		}
		aliases[i] = a.alias
	}
	switch strings.ToLower(s) {
	case "all", "none", "office365", "microsoftadminportals", "allagentidresources":
		return "", fmt.Errorf("%s is a group of applications; name one application of it, such as exchange", s)
	}
	if guid.MatchString(s) || n.apps[strings.ToLower(s)] {
		return s, nil
	}
	return "", fmt.Errorf("%q is an unknown application: give its client id, or one of %s", s, strings.Join(aliases, ", "))
}

// roleID reads a role: a template id, or its name with or without spaces.
func roleID(s string) (string, error) {
	for line := range strings.Lines(rolesTSV) {
		id, name, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if strings.EqualFold(id, s) || strings.EqualFold(name, strings.ReplaceAll(s, " ", "")) {
			return id, nil
		}
	}
	if guid.MatchString(s) {
		return s, nil
	}
	return "", fmt.Errorf("%q is an unknown role: give its name, as Global Administrator, or its template id", s)
}

// spaced writes GlobalAdministrator as Global Administrator.
func spaced(name string) string {
	var b strings.Builder
	for i, r := range name {
		if i > 0 && r >= 'A' && r <= 'Z' && name[i-1] >= 'a' && name[i-1] <= 'z' {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}
