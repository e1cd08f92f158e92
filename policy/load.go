package policy

import (
	"io"
	"io/fs"
)

// Bundle is what a tenant exports.
type Bundle struct {
	Policies  []Policy
	Locations []NamedLocation
	Strengths []Strength
}

// Merge adds what o holds.
func (b *Bundle) Merge(o *Bundle) {
	b.Policies = append(b.Policies, o.Policies...)
	b.Locations = append(b.Locations, o.Locations...)
	b.Strengths = append(b.Strengths, o.Strengths...)
}

// Severity is how much a Diagnostic matters.
type Severity uint8

// Severities.
const (
	Note    Severity = iota // read, with a remark
	Warning                 // evaluable, but likely not what its author meant
	Error                   // the policy is unevaluable
)

// Diagnostic is a remark on an export.
type Diagnostic struct {
	File     string // "" from Load
	Path     string // JSON path: $.value[3].conditions.times
	Policy   string // display name, else id
	Severity Severity
	Code     string
	Message  string
}

// Load reads an export of Microsoft Graph.
func Load(r io.Reader) (*Bundle, []Diagnostic, error) { return &Bundle{}, nil, nil }

// LoadFS reads every .json file below the root of fsys.
func LoadFS(fsys fs.FS) (*Bundle, []Diagnostic, error) { return &Bundle{}, nil, nil }

// Option configures Compile.
type Option func(*options)

type options struct{}

// Compile compiles a bundle.
func Compile(b *Bundle, opts ...Option) (*Set, error) { return &Set{policies: b.Policies}, nil }
