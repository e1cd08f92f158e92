package policy

import "fmt"

// Severity is how much a Diagnostic matters.
type Severity uint8

// Severities.
const (
	SeverityNote    Severity = iota // read, with a remark
	SeverityWarning                 // evaluable, but perhaps not what its author meant
	SeverityError                   // the policy is unevaluable
)

// String returns the severity in lower case.
func (s Severity) String() string {
	return [...]string{"note", "warning", "error"}[min(s, SeverityError)]
}

// Code is the kind of a Diagnostic.
type Code string

// Codes of diagnostics.
const (
	CodeUnmodeled    Code = "unmodeled"      // a key with a value that this package does not know
	CodeUnknownValue Code = "unknown-value"  // a value outside an enumeration
	CodeWrongType    Code = "wrong-type"     // JSON of another type than Graph's
	CodeFilterRule   Code = "filter-rule"    // a rule that does not parse
	CodeNoLocation   Code = "no-location"    // a reference to a named location that the bundle does not hold
	CodeNoStrength   Code = "no-strength"    // the same of an authentication strength
	CodeNoAppGroup   Code = "no-app-group"   // the same of a group of applications
	CodeBadLocation  Code = "bad-location"   // a named location that cannot be evaluated
	CodeBadStrength  Code = "bad-strength"   // the same of an authentication strength
	CodeUnknownRole  Code = "unknown-role"   // a role that is not a known template id
	CodeAuthoring    Code = "authoring"      // what Entra would refuse to save, or what its author hardly meant
	CodeRetired      Code = "retired"        // a control that Entra no longer enforces
	CodeTemplate     Code = "template"       // a policy without state: treated as enabled
	CodeDuplicate    Code = "duplicate"      // an id that occurred before
	CodeUnknownThing Code = "unknown-object" // an object that is neither policy nor location nor strength
	CodeHostBits     Code = "host-bits"      // a CIDR with bits set after its mask, which are cleared
)

// Diagnostic is a remark on an export. Nothing that cannot be modelled is
// dropped without one.
type Diagnostic struct {
	File     string // name of the file; "" from Load, and for what a program wrote
	Path     string // JSON path, such as $.value[3].conditions.times
	Policy   string // display name of the policy, else its id; "" for anything else
	Severity Severity
	Code     Code
	Message  string
}

// String says in one line where and what.
func (d Diagnostic) String() string {
	where := d.Path
	if d.File != "" {
		where = d.File + ": " + where
	}
	return fmt.Sprintf("%s: %s: %s (%s)", where, d.Severity, d.Message, d.Code)
}
