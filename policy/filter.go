package policy

import (
	"fmt"
	"strings"
)

// FilterRule is a parsed rule of the filter language, for devices
//
//	device.isCompliant -ne True -and device.model -startsWith "Surface"
//
// and for applications, service principals and agents
//
//	CustomSecurityAttribute.Set_Attr -contains "value"
//
// Comparisons bind tighter than -not, then -and, then -or; the hyphen of an
// operator may be missing or be a dash; names, operators and strings compare
// without regard to case. A missing property is null: a positive comparison
// with it is false, a negative one true, and only -eq null and -ne null ask for
// it. On physicalIds, systemLabels and multi-valued attributes -contains
// compares whole elements, on strings it searches.
//
// Source: Microsoft Entra documentation, "Conditional Access: Filter for
// devices" and "Filter for applications"; no grammar is published, so the
// parser reads what those pages and the dynamic-group rules allow.
type FilterRule struct {
	root       *expr
	prog       []instr
	text       string // canonical
	extensions bool   // it asks for extension attributes
}

// maxRule is the longest rule Entra stores, in characters.
const maxRule = 3072

type exprKind uint8

const (
	exprCmp exprKind = iota
	exprNot
	exprAnd
	exprOr
)

type expr struct {
	kind exprKind
	kids []*expr    // of not: 1; of and, or: 2 or more
	cmp  comparison // of cmp
}

type operator uint8

const (
	opEq operator = iota
	opStartsWith
	opEndsWith
	opContains
	opIn
)

var operatorNames = [...][2]string{
	opEq:         {"-eq", "-ne"},
	opStartsWith: {"-startsWith", "-notStartsWith"},
	opEndsWith:   {"-endsWith", "-notEndsWith"},
	opContains:   {"-contains", "-notContains"},
	opIn:         {"-in", "-notIn"},
}

type comparison struct {
	prop   property
	attr   string // name of a custom security attribute, lower case
	name   string // the same as written
	op     operator
	neg    bool
	null   bool
	values []string // as written
	folded []string // in lower case
}

type property uint8

const (
	propDeviceID property = iota
	propDisplayName
	propOwnership
	propEnrollmentProfile
	propCompliant
	propManufacturer
	propMDMAppID
	propModel
	propOS
	propOSVersion
	propPhysicalIDs
	propProfileType
	propSystemLabels
	propTrustType
	propExtension1
	propAttribute = propExtension1 + 15
)

var propertyNames = [...]string{
	propDeviceID:          "deviceId",
	propDisplayName:       "displayName",
	propOwnership:         "deviceOwnership",
	propEnrollmentProfile: "enrollmentProfileName",
	propCompliant:         "isCompliant",
	propManufacturer:      "manufacturer",
	propMDMAppID:          "mdmAppId",
	propModel:             "model",
	propOS:                "operatingSystem",
	propOSVersion:         "operatingSystemVersion",
	propPhysicalIDs:       "physicalIds",
	propProfileType:       "profileType",
	propSystemLabels:      "systemLabels",
	propTrustType:         "trustType",
}

func (p property) collection() bool { return p == propPhysicalIDs || p == propSystemLabels }

func findProperty(name string) (property, bool) {
	if n, ok := strings.CutPrefix(lower(name), "extensionattribute"); ok {
		for i := range 15 {
			if n == fmt.Sprint(i+1) {
				return propExtension1 + property(i), true
			}
		}
		return 0, false
	}
	for p, n := range propertyNames {
		if equalASCII(n, name) {
			return property(p), true
		}
	}
	return 0, false
}

// String writes the rule in one canonical form: hyphens, double quotes,
// parentheses only where precedence needs them.
func (r *FilterRule) String() string { return r.text }

func (e *expr) print(b *strings.Builder) {
	switch e.kind {
	case exprCmp:
		e.cmp.print(b)
	case exprNot:
		b.WriteString("-not (")
		e.kids[0].print(b)
		b.WriteByte(')')
	default:
		for i, k := range e.kids {
			if i > 0 {
				b.WriteString(map[exprKind]string{exprAnd: " -and ", exprOr: " -or "}[e.kind])
			}
			if k.kind == exprOr || k.kind == e.kind {
				b.WriteByte('(')
				k.print(b)
				b.WriteByte(')')
				continue
			}
			k.print(b)
		}
	}
}

func (c *comparison) print(b *strings.Builder) {
	switch {
	case c.prop == propAttribute:
		b.WriteString("CustomSecurityAttribute." + c.name)
	case c.prop >= propExtension1:
		fmt.Fprintf(b, "device.extensionAttribute%d", c.prop-propExtension1+1)
	default:
		b.WriteString("device." + propertyNames[c.prop])
	}
	neg := 0
	if c.neg {
		neg = 1
	}
	b.WriteString(" " + operatorNames[c.op][neg] + " ")
	switch {
	case c.null:
		b.WriteString("null")
	case c.prop == propCompliant:
		b.WriteString(c.values[0])
	case c.op == opIn:
		b.WriteByte('[')
		for i, v := range c.values {
			if i > 0 {
				b.WriteString(", ")
			}
			printString(b, v)
		}
		b.WriteByte(']')
	default:
		printString(b, c.values[0])
	}
}

func printString(b *strings.Builder, s string) {
	b.WriteByte('"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '`' || s[i] == '\\' {
			b.WriteByte('`')
		}
		b.WriteByte(s[i])
	}
	b.WriteByte('"')
}
