package policy

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/prtbroker/prtbroker/claims"
)

// An instr makes a comparison and says which instruction follows each result. A
// rule is a graph of comparisons without a stack, in which -not merely swaps
// the exits.
type instr struct {
	cmp     *comparison
	yes     int16
	no      int16
	flipped bool // below an odd number of -not
}

const (
	exitTrue  int16 = -1
	exitFalse int16 = -2
)

// compile emits the rule back to front, so that every target is known; the
// last instruction is the first to run.
func (r *FilterRule) compile() {
	r.emit(r.root, exitTrue, exitFalse, false)
	for i := range r.prog {
		r.extensions = r.extensions || r.prog[i].cmp.extension()
	}
}

// extension says whether a comparison asks for an extension attribute.
func (c *comparison) extension() bool { return c.prop >= propExtension1 && c.prop < propAttribute }

func (r *FilterRule) emit(e *expr, yes, no int16, flipped bool) (entry int16) {
	switch e.kind {
	case exprCmp:
		r.prog = append(r.prog, instr{&e.cmp, yes, no, flipped})
		return int16(len(r.prog) - 1)
	case exprNot:
		return r.emit(e.kids[0], no, yes, !flipped)
	}
	entry = r.emit(e.kids[len(e.kids)-1], yes, no, flipped)
	for i := len(e.kids) - 2; i >= 0; i-- {
		if e.kind == exprAnd {
			entry = r.emit(e.kids[i], entry, no, flipped)
		} else {
			entry = r.emit(e.kids[i], yes, entry, flipped)
		}
	}
	return entry
}

// MatchDevice says whether the rule is true of a device; nil is a device that
// is not registered, every property of which is null. The extension attributes
// of a device that is neither managed, compliant nor hybrid joined are null too;
// where a comparison is true because of that, Microsoft's page contradicts
// itself, and a Set counts the policy as one that cannot be evaluated.
func (r *FilterRule) MatchDevice(d *Device) bool { return r.run(d, nil, true) }

// decide is MatchDevice, and says whether the result is certain.
func (r *FilterRule) decide(d *Device) (yes, certain bool) {
	yes = r.run(d, nil, true)
	if !r.extensions || d == nil || d.extended() {
		return yes, true
	}
	return yes, yes == r.run(d, nil, false)
}

// doubtful says whether the rule is undecided for some device, apart from what
// its other properties are.
func (r *FilterRule) doubtful() bool {
	for i := range r.prog {
		in := &r.prog[i]
		if in.cmp.extension() && in.cmp.match(nil, nil) != in.flipped {
			return true
		}
	}
	return false
}

// extended says whether Entra knows the extension attributes of a device.
func (d *Device) extended() bool {
	return d.Managed || d.Compliant == claims.Yes || d.TrustType == TrustHybrid
}

// MatchAttributes says whether the rule is true of an application, service
// principal or agent with these custom security attributes.
func (r *FilterRule) MatchAttributes(attrs []Attribute) bool { return r.run(nil, attrs, true) }

// run evaluates the rule. Unless null is set, a comparison of an extension
// attribute does not count where it would make the rule true: the attribute may
// be unavailable.
func (r *FilterRule) run(d *Device, attrs []Attribute, null bool) bool {
	pc := int16(len(r.prog) - 1)
	for pc >= 0 {
		in := &r.prog[pc]
		yes := in.cmp.match(d, attrs)
		if !null && yes != in.flipped && in.cmp.extension() {
			yes = in.flipped
		}
		if yes {
			pc = in.yes
		} else {
			pc = in.no
		}
	}
	return pc == exitTrue
}

func (c *comparison) match(d *Device, attrs []Attribute) bool {
	return c.positive(d, attrs) != c.neg
}

func (c *comparison) positive(d *Device, attrs []Attribute) bool {
	switch {
	case c.prop == propAttribute:
		return c.matchAttribute(attrs)
	case d == nil:
		return c.null
	case c.prop == propCompliant:
		return c.matchCompliant(d.Compliant)
	case c.prop == propPhysicalIDs:
		return c.matchElements(d.PhysicalIDs)
	case c.prop == propSystemLabels:
		return c.matchElements(d.SystemLabels)
	}
	s := d.text(c.prop)
	if c.null || s == "" {
		return c.null && s == ""
	}
	return c.matchString(s)
}

func (d *Device) text(p property) string {
	switch p {
	case propDeviceID:
		return d.ID
	case propDisplayName:
		return d.DisplayName
	case propOwnership:
		return d.Ownership
	case propEnrollmentProfile:
		return d.EnrollmentProfileName
	case propManufacturer:
		return d.Manufacturer
	case propMDMAppID:
		return d.MDMAppID
	case propModel:
		return d.Model
	case propOS:
		return d.OperatingSystem
	case propOSVersion:
		return d.OperatingSystemVersion
	case propProfileType:
		return d.ProfileType
	case propTrustType:
		return d.TrustType.word()
	}
	if !d.extended() {
		return ""
	}
	return d.ExtensionAttributes[p-propExtension1]
}

func (t TrustType) word() string {
	switch t {
	case TrustRegistered:
		return "Workplace"
	case TrustJoined:
		return "AzureAD"
	case TrustHybrid:
		return "ServerAD"
	}
	return ""
}

func (c *comparison) matchCompliant(t claims.Answer) bool {
	if c.null || t == claims.Unknown {
		return c.null && t == claims.Unknown
	}
	return (c.folded[0] == "true") == (t == claims.Yes)
}

// matchElements is -contains on a collection; -eq null asks for an empty one.
func (c *comparison) matchElements(list []string) bool {
	if c.null {
		return len(list) == 0
	}
	for _, s := range list {
		if equalFold(s, c.folded[0]) {
			return true
		}
	}
	return false
}

func (c *comparison) matchAttribute(attrs []Attribute) bool {
	for i := range attrs {
		a := &attrs[i]
		if !equalFold(a.Name, c.attr) || len(a.Values) == 0 {
			continue
		}
		if c.null {
			return false
		}
		if a.Multiple && c.op == opContains {
			return c.matchElements(a.Values)
		}
		for _, v := range a.Values {
			if c.matchString(v) {
				return true
			}
		}
		return false
	}
	return c.null
}

func (c *comparison) matchString(s string) bool {
	switch c.op {
	case opStartsWith:
		return prefixFold(s, c.folded[0]) >= 0
	case opEndsWith:
		return searchFold(s, c.folded[0], true)
	case opContains:
		return searchFold(s, c.folded[0], false)
	}
	for _, v := range c.folded {
		if equalFold(s, v) {
			return true
		}
	}
	return false
}

func equalFold(s, folded string) bool { return prefixFold(s, folded) == len(s) }

// prefixFold returns how many bytes of s are the prefix that folds to folded,
// or -1.
func prefixFold(s, folded string) int {
	i, j := 0, 0
	for j < len(folded) {
		if i >= len(s) {
			return -1
		}
		if c := s[i]; c < utf8.RuneSelf && folded[j] < utf8.RuneSelf {
			if lowerByte(c) != folded[j] {
				return -1
			}
			i++
			j++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		f, m := utf8.DecodeRuneInString(folded[j:])
		if unicode.ToLower(r) != f {
			return -1
		}
		i, j = i+n, j+m
	}
	return i
}

// searchFold looks for folded in s, at its end only when atEnd.
func searchFold(s, folded string, atEnd bool) bool {
	for i := 0; ; {
		if n := prefixFold(s[i:], folded); n >= 0 && (!atEnd || i+n == len(s)) {
			return true
		}
		if i >= len(s) {
			return false
		}
		_, n := utf8.DecodeRuneInString(s[i:])
		i += n
	}
}

// foldString is what the folded side of the functions above must have gone
// through.
func foldString(s string) string { return strings.Map(unicode.ToLower, s) }
