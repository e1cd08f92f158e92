package seed

import (
	"encoding/json"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// kind is a collection of Microsoft Graph.
type kind string

const (
	organizations     kind = "organization"
	users             kind = "users"
	groups            kind = "groups"
	directoryRoles    kind = "directoryRoles"
	applications      kind = "applications"
	servicePrincipals kind = "servicePrincipals"
	roleAssignments   kind = "appRoleAssignments"
	permissionGrants  kind = "oauth2PermissionGrants"
	devices           kind = "devices"
	policies          kind = "policies"
	namedLocations    kind = "namedLocations"
	strengths         kind = "authenticationStrengthPolicies"
	members           kind = "directoryObjects"
)

var kinds = []kind{organizations, users, groups, directoryRoles, applications, servicePrincipals, roleAssignments, permissionGrants,
	devices, policies, namedLocations, strengths, members}

// types are the kinds by the type of an object.
var types = map[string]kind{
	"organization": organizations, "user": users, "group": groups, "directoryrole": directoryRoles, "application": applications,
	"serviceprincipal": servicePrincipals, "approleassignment": roleAssignments, "oauth2permissiongrant": permissionGrants, "device": devices,
	"conditionalaccesspolicy": policies, "ipnamedlocation": namedLocations, "countrynamedlocation": namedLocations,
	"authenticationstrengthpolicy": strengths,
}

// shapes are members that only objects of one kind have. Tools that keep policies in
// repositories drop contexts and types.
var shapes = []struct {
	member string
	kind   kind
}{
	{"grantControls", policies}, {"sessionControls", policies}, {"ipRanges", namedLocations}, {"countriesAndRegions", namedLocations},
	{"allowedCombinations", strengths}, {"userPrincipalName", users}, {"deviceId", devices},
}

// shapeOf tells the kind of an object by its type, or else by its members.
func shapeOf(raw json.RawMessage) kind {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return ""
	}
	var odataType string
	_ = json.Unmarshal(members["@odata.type"], &odataType) // an object without a type has none
	if k := types[strings.ToLower(strings.TrimPrefix(odataType, "#microsoft.graph."))]; k != "" {
		return k
	}
	for _, s := range shapes {
		if _, ok := members[s.member]; ok {
			return s.kind
		}
	}
	return ""
}

var (
	selected   = regexp.MustCompile(`\(.*\)`)                                                     // users(id,displayName)
	numbered   = regexp.MustCompile(`[-_. ]*(page)?[-_. ]*\d*$`)                                  // users-2
	groupOf    = regexp.MustCompile(`(?i)(?:groups|directoryRoles)\('([0-9a-f-]{36})'\)/members`) // of a context
	guid       = regexp.MustCompile(`(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	otherNames = map[string]kind{
		"conditionalaccesspolicies": policies, "conditionalaccess": policies, "locations": namedLocations, "strengths": strengths, "authenticationstrengths": strengths,
		"approleassignedto": roleAssignments, "apps": applications,
	}
)

// kindOf tells the kind of a file's objects by the context of the reply, or else by the
// file's name. For the members of a group or a role it returns its id, which the context
// or the name contains.
func kindOf(context, file string) (k kind, group string) {
	_, what, _ := strings.Cut(context, "#")
	if m := groupOf.FindStringSubmatch(what); m != nil {
		return members, strings.ToLower(m[1])
	}
	what = strings.TrimSuffix(selected.ReplaceAllString(what, ""), "/$entity")
	k = named(path.Base(what))
	if k != "" && k != members {
		return k, ""
	}
	lower := strings.ToLower(file)
	if id := guid.FindString(lower); id != "" && strings.Contains(lower, "members") {
		return members, id
	}
	for name := strings.TrimSuffix(lower, path.Ext(lower)); k == "" && name != "." && name != "/"; name = path.Dir(name) {
		k = named(numbered.ReplaceAllString(path.Base(name), ""))
	}
	return k, ""
}

func named(name string) kind {
	name = strings.ToLower(name)
	for _, k := range kinds {
		if strings.ToLower(string(k)) == name {
			return k
		}
	}
	return otherNames[name]
}

// namesOf are the members that a type reads.
func namesOf[T any]() (names []string) {
	for _, f := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
