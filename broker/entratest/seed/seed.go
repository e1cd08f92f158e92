// Package seed makes a tenant of the emulator from what Microsoft Graph exports of a
// real one: your tenant, offline.
//
//	tenant, err := seed.FromGraph(os.DirFS("export"), seed.Config{Password: "correct horse"})
//	if err != nil {
//		return err
//	}
//	for _, r := range tenant.Remarks {
//		fmt.Println(r)
//	}
//	srv, err := entratest.Start(tenant.Options)
//	if err != nil {
//		return err
//	}
//	defer srv.Close()
//
// An export is a directory of replies as they came: one page of a collection, or one
// object, a file. These requests to https://graph.microsoft.com/v1.0 make one:
//
//	organization
//	users?$select=id,userPrincipalName,displayName,mail,userType,accountEnabled,onPremisesSecurityIdentifier
//	groups?$expand=members
//	groups/{id}/members
//	directoryRoles?$expand=members
//	directoryRoles/{id}/members
//	applications
//	servicePrincipals
//	servicePrincipals/{id}/appRoleAssignedTo
//	oauth2PermissionGrants
//	devices?$expand=registeredOwners
//	identity/conditionalAccess/policies
//	identity/conditionalAccess/namedLocations
//	policies/authenticationStrengthPolicies
//
// Each is optional. $expand returns only the first 20 members. For groups and roles that
// have more, also export the list of their members, to a file whose name contains "members"
// and the id, such as groups/ID/members.json.
//
// Exports contain no passwords, secrets or keys: [Config] says what users and
// applications get instead, and devices, which have none, cannot sign in. Nothing is
// dropped silently: [Tenant].Remarks lists what the emulator does not represent, and
// where an export may be incomplete.
package seed

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// Config says what an export cannot.
type Config struct {
	// Password is that of every user; "": users have none.
	Password string
	// Secret is that of every application with a secret; "": they have none, and only
	// certificates and federated credentials authenticate them.
	Secret string
}

// Format implements [fmt.Formatter] without revealing the password and the secret.
func (Config) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, "Config{[redacted]}") }

// LogValue implements [slog.LogValuer] without revealing the password and the secret.
func (Config) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalText implements [encoding.TextMarshaler] without revealing the password and the
// secret.
func (Config) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// Tenant is what an export says.
type Tenant struct {
	Options entratest.Options
	Remarks []Remark // what Options do not represent, in the order of the files
}

// Remark says what of an export is not represented, or only in part.
type Remark struct {
	File string // name in the export; "": several
	Text string
}

// String returns the remark in one line.
func (r Remark) String() string {
	if r.File == "" {
		return r.Text
	}
	return r.File + ": " + r.Text
}

// maxFile bounds a file of an export, in bytes.
const maxFile = 64 << 20

// FromGraph reads every file below the root of an export whose name ends in .json. It
// returns an error if a file cannot be read, is larger than 64 MiB or is not JSON.
func FromGraph(export fs.FS, c Config) (*Tenant, error) {
	b := &builder{config: c, found: map[kind][]object{}, members: map[string][]reference{}, unused: map[kind]map[string]bool{}}
	err := fs.WalkDir(export, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.EqualFold(path.Ext(name), ".json") {
			return err
		}
		return b.file(export, name)
	})
	if err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	if err := b.build(); err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	return &b.tenant, nil
}

// builder puts a tenant together.
type builder struct {
	config  Config
	tenant  Tenant
	found   map[kind][]object
	members map[string][]reference   // of groups and roles, by id; those that were not looked up yet
	unused  map[kind]map[string]bool // members of objects that are not represented
	pages   map[kind]pages
}

// pages counts the files of a collection, and those that say that another follows.
type pages struct{ files, next int }

// object is one object of an export.
type object struct {
	file string
	raw  json.RawMessage
}

func (b *builder) remark(file, format string, args ...any) {
	b.tenant.Remarks = append(b.tenant.Remarks, Remark{file, fmt.Sprintf(format, args...)})
}

// document is a reply of Microsoft Graph.
type document struct {
	Context string            `json:"@odata.context"`
	Type    string            `json:"@odata.type"`
	Next    string            `json:"@odata.nextLink"`
	Value   []json.RawMessage `json:"value"`
}

// file sorts the objects of a file by kind.
func (b *builder) file(export fs.FS, name string) error {
	info, err := fs.Stat(export, name)
	if err != nil {
		return err
	}
	if info.Size() > maxFile {
		return fmt.Errorf("%s is larger than 64 MiB", name)
	}
	text, err := fs.ReadFile(export, name)
	if err != nil {
		return err
	}
	doc, err := parse(text)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	k, group := kindOf(doc.Context, name)
	if b.pages == nil {
		b.pages = map[kind]pages{}
	}
	p := b.pages[k]
	p.files++
	if doc.Next != "" {
		p.next++
	}
	b.pages[k] = p
	unknown := 0
	for _, raw := range doc.Value {
		own := k
		if own == "" {
			own = shapeOf(raw)
		}
		switch {
		case group != "":
			var r reference
			if err := json.Unmarshal(raw, &r); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			b.members[group] = append(b.members[group], r)
		case own == "":
			unknown++
		default:
			b.found[own] = append(b.found[own], object{name, raw})
		}
	}
	if unknown > 0 {
		b.remark(name, "neither its @odata.context nor its name says what its objects are: %s not represented", count(unknown, "object"))
	}
	return nil
}

// parse reads a collection, an array or one object.
func parse(text []byte) (document, error) {
	text = utf8Of(text)
	var list []json.RawMessage
	if json.Unmarshal(text, &list) == nil {
		return document{Value: list}, nil
	}
	var doc document
	if err := json.Unmarshal(text, &doc); err != nil {
		return doc, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return doc, err
	}
	if _, collection := members["value"]; !collection {
		doc.Value = []json.RawMessage{text}
	}
	return doc, nil
}

// utf8Of decodes UTF-16, in which PowerShell writes files, and drops a byte-order mark.
func utf8Of(text []byte) []byte {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(text, []byte{0xff, 0xfe}):
		order = binary.LittleEndian
	case bytes.HasPrefix(text, []byte{0xfe, 0xff}):
		order = binary.BigEndian
	default:
		return bytes.TrimPrefix(text, []byte("\ufeff"))
	}
	var units []uint16
	for text = text[2:]; len(text) >= 2; text = text[2:] {
		units = append(units, order.Uint16(text))
	}
	return []byte(string(utf16.Decode(units)))
}

// read decodes the objects of a kind, and notes the members that T does not have.
func read[T any](b *builder, k kind, each func(file string, v T) error) error {
	known := namesOf[T]()
	for _, o := range b.found[k] {
		var v T
		if err := json.Unmarshal(o.raw, &v); err != nil {
			return fmt.Errorf("%s: %w", o.file, err)
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(o.raw, &members); err != nil {
			return fmt.Errorf("%s: %w", o.file, err)
		}
		for name, value := range members {
			if !strings.Contains(name, "@odata.") && !slices.Contains(known, name) && !isEmpty(value) {
				if b.unused[k] == nil {
					b.unused[k] = map[string]bool{}
				}
				b.unused[k][name] = true
			}
		}
		if err := each(o.file, v); err != nil {
			return err
		}
	}
	return nil
}

// isEmpty reports whether a value says nothing.
func isEmpty(v json.RawMessage) bool {
	switch strings.Join(strings.Fields(string(v)), "") {
	case "null", `""`, "[]", "{}", "false":
		return true
	}
	return false
}

// build makes the options of what was found.
func (b *builder) build() error {
	for _, k := range kinds {
		if p := b.pages[k]; p.files > 0 && p.next >= p.files {
			b.remark("", "%s: the last page is missing: every file has an @odata.nextLink", k)
		}
	}
	return errors.Join(b.organization(), b.people(), b.apps(), b.devices(), b.policies(), b.rest())
}

// rest lists the members that no object represents.
func (b *builder) rest() error {
	for _, k := range kinds {
		var names []string
		for name := range b.unused[k] {
			names = append(names, name)
		}
		if len(names) > 0 {
			slices.Sort(names)
			b.remark("", "%s: not represented: %s", k, strings.Join(names, ", "))
		}
	}
	return nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what + " is"
	}
	return fmt.Sprintf("%d %ss are", n, what)
}
