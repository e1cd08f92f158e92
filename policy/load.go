package policy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// Limits of an export.
const (
	maxInput = 64 << 20 // bytes of one file
	maxDepth = 64       // levels of arrays and objects
)

// Bundle is what a tenant exports. A program may also write one in Go.
type Bundle struct {
	Policies  []Policy
	Locations []NamedLocation
	Strengths []Strength // custom ones; the built-in ones need not be listed
}

// Merge adds what o holds.
func (b *Bundle) Merge(o *Bundle) {
	b.Policies = append(b.Policies, o.Policies...)
	b.Locations = append(b.Locations, o.Locations...)
	b.Strengths = append(b.Strengths, o.Strengths...)
}

// SyntaxError is the error of Load for input that is not JSON.
type SyntaxError struct {
	File   string // "" from Load
	Line   int    // from 1
	Column int    // in bytes, from 1
	Err    error
}

// Error says where the input ceases to be JSON.
func (e *SyntaxError) Error() string {
	file := ""
	if e.File != "" {
		file = e.File + ": "
	}
	return fmt.Sprintf("policy: %sline %d, column %d: %v", file, e.Line, e.Column, e.Err)
}

// Unwrap returns the error of encoding/json.
func (e *SyntaxError) Unwrap() error { return e.Err }

// Load reads policies, named locations and authentication strengths as
// Microsoft Graph, its PowerShell modules and the tools built on them write
// them: one object, an array, {"value": […]}, or containers of these; in
// UTF-8 or UTF-16, with or without a byte-order mark; up to 64 MiB and 64
// levels. Keys are found in any casing, annotations are skipped, and what is
// null or empty is not configured.
//
// What cannot be modelled stays in the policy as Unmodeled and is reported.
// Input that is not JSON is a *SyntaxError.
func Load(r io.Reader) (*Bundle, []Diagnostic, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err != nil {
		return nil, nil, fmt.Errorf("policy: reading an export: %w", err)
	}
	if len(data) > maxInput {
		return nil, nil, fmt.Errorf("policy: the export is larger than %d bytes", maxInput)
	}
	docs, err := parseJSON(decodeText(data))
	if err != nil {
		return nil, nil, err
	}
	l := &loader{bundle: &Bundle{}}
	for i := range docs {
		root := "$"
		if len(docs) > 1 {
			root = fmt.Sprintf("$[document %d]", i+1)
		}
		l.walk(root, &docs[i])
	}
	return l.bundle, l.diags, nil
}

// LoadFS loads every file below the root of fsys whose name ends in .json.
// Files that cannot be read do not hide the others: the bundle holds what
// could be loaded, and the error joins those of the rest.
func LoadFS(fsys fs.FS) (*Bundle, []Diagnostic, error) {
	all := &Bundle{}
	var diags []Diagnostic
	var errs []error
	err := fs.WalkDir(fsys, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.EqualFold(path.Ext(name), ".json") {
			return err
		}
		b, found, err := loadFile(fsys, name)
		if err != nil {
			errs = append(errs, err)
			return nil
		}
		for i := range found {
			found[i].File = name
		}
		b.foundIn(name)
		all.Merge(b)
		diags = append(diags, found...)
		return nil
	})
	if err != nil {
		errs = append(errs, fmt.Errorf("policy: %w", err))
	}
	return all, diags, errors.Join(errs...)
}

// foundIn notes the file that a bundle was loaded from.
func (b *Bundle) foundIn(file string) {
	for i := range b.Policies {
		b.Policies[i].Source.File = file
	}
	for i := range b.Locations {
		b.Locations[i].Source.File = file
	}
	for i := range b.Strengths {
		b.Strengths[i].Source.File = file
	}
}

func loadFile(fsys fs.FS, name string) (*Bundle, []Diagnostic, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, nil, fmt.Errorf("policy: %w", err)
	}
	defer f.Close()
	b, diags, err := Load(f)
	var syntax *SyntaxError
	if errors.As(err, &syntax) {
		syntax.File = name
	} else if err != nil {
		err = fmt.Errorf("%w (%s)", err, name)
	}
	return b, diags, err
}

// A loader finds the objects in a document.
type loader struct {
	bundle *Bundle
	diags  []Diagnostic
}

func (l *loader) report(path string, sev Severity, code Code, name, format string, args ...any) {
	l.diags = append(l.diags, Diagnostic{Path: path, Policy: name, Severity: sev, Code: code, Message: fmt.Sprintf(format, args...)})
}

func (l *loader) walk(path string, n *node) {
	switch n.kind {
	case nodeArray:
		for i := range n.list {
			l.walk(at(path, i), &n.list[i])
		}
	case nodeObject:
		l.object(path, n)
	case nodeNull:
	default:
		l.report(path, SeverityWarning, CodeUnknownThing, "", "neither a policy, a named location nor a strength")
	}
}

func (l *loader) object(path string, n *node) {
	kind := lower(n.annotation("type"))
	switch {
	case n.get("conditions").kind == nodeObject,
		strings.HasSuffix(kind, ".conditionalaccesspolicy"), n.has("grantControls") && !n.has("value"):
		l.policy(path, n, n)
	case n.get("details").has("conditions"):
		l.policy(path+".details", n.get("details"), n)
	case strings.HasSuffix(kind, "namedlocation"), n.has("ipRanges"), n.has("countriesAndRegions"):
		l.location(path, n)
	case n.has("allowedCombinations"):
		l.bundle.Strengths = append(l.bundle.Strengths, *l.strength(path, n))
	default:
		l.container(path, n)
	}
}

// container looks for objects inside an object that is not itself one.
func (l *loader) container(path string, n *node) {
	inner := false
	for i := range n.keys {
		v := &n.list[i]
		if !annotation(n.keys[i]) && (v.kind == nodeObject || v.kind == nodeArray && v.hasObjects()) {
			inner = true
			l.walk(path+"."+n.keys[i], v)
		}
	}
	if !inner && !n.empty() {
		l.report(path, SeverityNote, CodeUnknownThing, "", "neither a policy, a named location nor a strength: skipped")
	}
}

func (l *loader) policy(path string, n, named *node) {
	d := &decoder{}
	p := d.policy(n, named)
	for _, key := range d.remarks {
		l.report(path+"."+key, SeverityNote, CodeUnmodeled, p.name(), "taken for a remark")
	}
	for _, f := range p.check() {
		l.report(path+"."+f.path, f.severity, f.code, p.name(), "%s", f.message)
	}
	if p.State == "" {
		l.report(path, SeverityNote, CodeTemplate, p.name(), "no state: taken for enabled")
	}
	p.Source.Path = path
	l.bundle.Policies = append(l.bundle.Policies, p)
}

func (l *loader) strength(path string, n *node) *Strength {
	d := &decoder{}
	s := d.strength("", n)
	if _, err := newStrength(s); err != nil {
		l.report(path, SeverityError, CodeBadStrength, "", "strength %q: %s", s.DisplayName, err)
	}
	for _, p := range d.unmodeled {
		l.report(path+p, SeverityError, CodeUnmodeled, "", "is not understood")
	}
	s.Source.Path = path
	return s
}
