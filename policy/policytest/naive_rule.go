package policytest

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

// rule evaluates a filter rule that parses.
func rule(text string, d *policy.Device, attrs []policy.Attribute) bool {
	v, err := evalRule(text, attrs == nil && (d != nil || !strings.Contains(text, "CustomSecurityAttribute")), d, attrs)
	return err == nil && v
}

// ruleByTable evaluates a device rule as the table of the page reads: negative
// comparisons of an attribute that is not available do not hold.
func ruleByTable(text string, d *policy.Device) bool {
	r := &ruleReader{toks: ruleToken.FindAllString(text, -1), device: true, d: d, table: true}
	return r.or()
}

var ruleToken = regexp.MustCompile("\"(?:[^\"`]|`.)*\"|[()\\[\\],]|[^\\s()\\[\\],\"]+")

var errRule = errors.New("policytest: rule does not parse")

// A ruleReader evaluates while it reads, so that there is no tree to get wrong.
// Results that do not matter, such as the right side of a decided -or, are
// thrown away.
type ruleReader struct {
	toks   []string
	device bool
	d      *policy.Device
	attrs  []policy.Attribute
	table  bool // see ruleByTable
	nots   int  // how many -not are open
	err    error
}

func evalRule(text string, device bool, d *policy.Device, attrs []policy.Attribute) (bool, error) {
	r := &ruleReader{toks: ruleToken.FindAllString(text, -1), device: device, d: d, attrs: attrs}
	v := r.or()
	if len(r.toks) > 0 {
		r.err = errRule
	}
	return v, r.err
}

func (r *ruleReader) peek() string {
	if len(r.toks) == 0 {
		return ""
	}
	return r.toks[0]
}

func (r *ruleReader) take() string {
	t := r.peek()
	if t == "" {
		r.err = errRule
		return ""
	}
	r.toks = r.toks[1:]
	return t
}

func (r *ruleReader) word(w string) bool {
	return strings.EqualFold(strings.TrimPrefix(r.peek(), "-"), w)
}

func (r *ruleReader) or() bool {
	v := r.and()
	for r.word("or") && r.err == nil {
		r.take()
		right := r.and()
		v = v || right
	}
	return v
}

func (r *ruleReader) and() bool {
	v := r.not()
	for r.word("and") && r.err == nil {
		r.take()
		right := r.not()
		v = v && right
	}
	return v
}

func (r *ruleReader) not() bool {
	switch {
	case r.err != nil:
		return false
	case r.word("not"):
		r.take()
		r.nots++
		v := !r.not()
		r.nots--
		return v
	case r.peek() == "(":
		r.take()
		v := r.or()
		if r.take() != ")" {
			r.err = errRule
		}
		return v
	}
	return r.compare()
}

func (r *ruleReader) compare() bool {
	name := strings.ToLower(r.take())
	values, multiple := r.property(name)
	op := strings.ToLower(strings.TrimPrefix(r.take(), "-"))
	negative := op == "ne" || strings.HasPrefix(op, "not")
	op = strings.TrimPrefix(op, "not")
	if op == "ne" {
		op = "eq"
	}
	if !slices.Contains([]string{"eq", "startswith", "endswith", "contains", "in"}, op) {
		r.err = errRule
		return false
	}
	operands, null := r.operands()
	v := r.positive(values, multiple, op, operands, null) != negative
	if below := r.nots%2 == 1; r.table && strings.HasPrefix(name, "device.extensionattribute") && v != below {
		return below
	}
	return v
}

func (r *ruleReader) operands() (list []string, null bool) {
	if r.peek() != "[" {
		t := r.take()
		return []string{unquote(t)}, strings.EqualFold(t, "null")
	}
	r.take()
	for r.err == nil {
		list = append(list, unquote(r.take()))
		if t := r.take(); t != "," {
			return list, false
		}
	}
	return nil, false
}

func unquote(t string) string {
	if !strings.HasPrefix(t, `"`) {
		return t
	}
	return regexp.MustCompile("`(.)").ReplaceAllString(t[1:len(t)-1], "$1")
}

func (r *ruleReader) positive(values []string, multiple bool, op string, operands []string, null bool) bool {
	if null {
		return len(values) == 0
	}
	for _, v := range values {
		v = strings.ToLower(v)
		for _, o := range operands {
			o = strings.ToLower(o)
			switch {
			case op == "contains" && multiple:
				if v == o {
					return true
				}
			case op == "contains":
				if strings.Contains(v, o) {
					return true
				}
			case op == "startswith":
				if strings.HasPrefix(v, o) {
					return true
				}
			case op == "endswith":
				if strings.HasSuffix(v, o) {
					return true
				}
			case v == o:
				return true
			}
		}
	}
	return false
}

// property returns the values of a property; none is null.
func (r *ruleReader) property(name string) (values []string, multiple bool) {
	if attr, ok := strings.CutPrefix(name, "customsecurityattribute."); ok && !r.device {
		for _, a := range r.attrs {
			if strings.EqualFold(a.Name, attr) {
				return a.Values, a.Multiple
			}
		}
		return nil, false
	}
	name, ok := strings.CutPrefix(name, "device.")
	if !ok || !r.device {
		r.err = errRule
		return nil, false
	}
	d := r.d
	if d == nil {
		d = &policy.Device{}
	}
	switch name {
	case "physicalids":
		return d.PhysicalIDs, true
	case "systemlabels":
		return d.SystemLabels, true
	case "iscompliant":
		return [][]string{nil, {"False"}, {"True"}}[d.Compliant], false
	case "trusttype":
		return [][]string{nil, {"Workplace"}, {"AzureAD"}, {"ServerAD"}}[d.TrustType], false
	}
	if s, ok := strings.CutPrefix(name, "extensionattribute"); ok {
		if i, err := strconv.Atoi(s); err == nil && i >= 1 && i <= 15 {
			if !d.Managed && d.Compliant != claims.Yes && d.TrustType != policy.TrustHybrid {
				return nil, false
			}
			return some(d.ExtensionAttributes[i-1]), false
		}
	}
	s, ok := map[string]string{
		"deviceid": d.ID, "displayname": d.DisplayName, "deviceownership": d.Ownership,
		"enrollmentprofilename": d.EnrollmentProfileName, "manufacturer": d.Manufacturer, "mdmappid": d.MDMAppID,
		"model": d.Model, "operatingsystem": d.OperatingSystem, "operatingsystemversion": d.OperatingSystemVersion,
		"profiletype": d.ProfileType,
	}[name]
	if !ok {
		r.err = errRule
	}
	return some(s), false
}

func some(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}
