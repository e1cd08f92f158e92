package policy

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ParseFilterRule parses a rule of at most 3,072 characters. The error gives
// the byte at which the rule stops making sense.
func ParseFilterRule(rule string) (*FilterRule, error) {
	if utf8.RuneCountInString(rule) > maxRule {
		return nil, fmt.Errorf("policy: filter rule is longer than %d characters", maxRule)
	}
	p := ruleParser{text: rule}
	p.next()
	root, err := p.or(0)
	if err == nil && p.tok.kind != tokEnd {
		err = p.fail("expected -and, -or or the end")
	}
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	root.print(&text)
	r := &FilterRule{root: root, text: text.String()}
	r.compile()
	return r, nil
}

type tokenKind uint8

const (
	tokEnd tokenKind = iota
	tokWord
	tokString
	tokPunct
	tokBad
)

type token struct {
	kind tokenKind
	text string // of a word without the hyphen of an operator
	pos  int
}

type ruleParser struct {
	text string
	pos  int
	tok  token
}

// maxNesting bounds parentheses, and so the depth of the recursion.
const maxNesting = 64

func (p *ruleParser) fail(msg string) error {
	if p.tok.kind == tokBad {
		msg = p.tok.text
	}
	return fmt.Errorf("policy: filter rule, byte %d: %s", p.tok.pos, msg)
}

func (p *ruleParser) next() {
	rest := strings.TrimLeftFunc(p.text[p.pos:], unicode.IsSpace)
	p.pos = len(p.text) - len(rest)
	p.tok = token{pos: p.pos}
	if rest == "" {
		return
	}
	switch c := rest[0]; c {
	case '(', ')', '[', ']', ',':
		p.tok.kind, p.tok.text = tokPunct, rest[:1]
		p.pos++
	case '"', '\'':
		p.quoted(rest, c)
	default:
		p.word(rest)
	}
}

// quoted reads a string in which a backtick escapes any character, and a
// backslash the quote.
func (p *ruleParser) quoted(rest string, quote byte) {
	var b strings.Builder
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '`' && i+1 < len(rest), c == '\\' && i+1 < len(rest) && rest[i+1] == quote:
			i++
			b.WriteByte(rest[i])
		case c == quote:
			p.tok.kind, p.tok.text = tokString, b.String()
			p.pos += i + 1
			return
		default:
			b.WriteByte(c)
		}
	}
	p.tok.kind, p.tok.text = tokBad, "string without an end"
	p.pos = len(p.text)
}

func (p *ruleParser) word(rest string) {
	end := strings.IndexFunc(rest, func(r rune) bool {
		return unicode.IsSpace(r) || strings.ContainsRune(`()[],"'`, r)
	})
	if end < 0 {
		end = len(rest)
	}
	p.tok.kind, p.tok.text = tokWord, rest[:end]
	p.pos += end
}

// keyword says whether the token is a word of the language, its hyphen or
// dash aside.
func (t token) keyword(word string) bool {
	return t.kind == tokWord && equalASCII(trimDash(t.text), word)
}

func trimDash(s string) string {
	for _, dash := range []string{"-", "–", "—", "−"} {
		if rest, ok := strings.CutPrefix(s, dash); ok {
			return rest
		}
	}
	return s
}

func (p *ruleParser) or(depth int) (*expr, error)  { return p.chain(exprOr, "or", depth, p.and) }
func (p *ruleParser) and(depth int) (*expr, error) { return p.chain(exprAnd, "and", depth, p.not) }

func (p *ruleParser) chain(kind exprKind, word string, depth int, operand func(int) (*expr, error)) (*expr, error) {
	first, err := operand(depth)
	if err != nil || !p.tok.keyword(word) {
		return first, err
	}
	e := &expr{kind: kind, kids: []*expr{first}}
	for p.tok.keyword(word) {
		p.next()
		k, err := operand(depth)
		if err != nil {
			return nil, err
		}
		e.kids = append(e.kids, k)
	}
	return e, nil
}

func (p *ruleParser) not(depth int) (*expr, error) {
	if depth > maxNesting {
		return nil, p.fail("nested too deeply")
	}
	if p.tok.keyword("not") {
		p.next()
		k, err := p.not(depth + 1)
		if err != nil {
			return nil, err
		}
		return &expr{kind: exprNot, kids: []*expr{k}}, nil
	}
	if !p.punct("(") {
		return p.comparison()
	}
	p.next()
	e, err := p.or(depth + 1)
	if err != nil {
		return nil, err
	}
	if !p.punct(")") {
		return nil, p.fail("expected )")
	}
	p.next()
	return e, nil
}

func (p *ruleParser) punct(s string) bool { return p.tok.kind == tokPunct && p.tok.text == s }

func (p *ruleParser) comparison() (*expr, error) {
	e := &expr{}
	c := &e.cmp
	if err := p.property(c); err != nil {
		return nil, err
	}
	p.next()
	if err := p.operator(c); err != nil {
		return nil, err
	}
	p.next()
	if err := p.values(c); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, p.fail(err.Error())
	}
	for _, v := range c.values {
		c.folded = append(c.folded, foldString(v))
	}
	return e, nil
}

func (p *ruleParser) property(c *comparison) error {
	object, name, ok := strings.Cut(p.tok.text, ".")
	if p.tok.kind != tokWord || !ok || name == "" {
		return p.fail("expected device.property or CustomSecurityAttribute.Set_Attribute")
	}
	switch lower(object) {
	case "device":
		if c.prop, ok = findProperty(name); !ok {
			return p.fail("devices have no such property")
		}
	case "customsecurityattribute":
		c.prop, c.name, c.attr = propAttribute, name, foldString(name)
	default:
		return p.fail("expected device.property or CustomSecurityAttribute.Set_Attribute")
	}
	return nil
}

func (p *ruleParser) operator(c *comparison) error {
	for op, names := range operatorNames {
		for neg, name := range names {
			if p.tok.keyword(name[1:]) {
				c.op, c.neg = operator(op), neg == 1
				return nil
			}
		}
	}
	return p.fail("expected an operator such as -eq")
}

func (p *ruleParser) values(c *comparison) error {
	if !p.punct("[") {
		v, null, err := p.value()
		if err != nil {
			return err
		}
		c.values, c.null = []string{v}, null
		return nil
	}
	if c.op != opIn {
		return p.fail("a list needs -in or -notIn")
	}
	for {
		p.next()
		v, null, err := p.value()
		if err != nil {
			return err
		}
		if null {
			return p.fail("null in a list")
		}
		c.values = append(c.values, v)
		if p.punct(",") {
			continue
		}
		if !p.punct("]") {
			return p.fail("expected , or ]")
		}
		p.next()
		return nil
	}
}

func (p *ruleParser) value() (v string, null bool, err error) {
	if p.tok.kind != tokString && p.tok.kind != tokWord {
		return "", false, p.fail("expected a value")
	}
	v, null = p.tok.text, p.tok.keyword("null") && p.tok.text[0] != '-'
	p.next()
	return v, null, nil
}

// check refuses comparisons that mean nothing, and gives booleans one spelling.
func (c *comparison) check() error {
	switch {
	case c.null && c.op != opEq:
		return errors.New("null needs -eq or -ne")
	case c.null:
		return nil
	case c.prop == propCompliant:
		if c.op != opEq {
			return errors.New("isCompliant needs -eq or -ne")
		}
		switch lower(c.values[0]) {
		case "true":
			c.values[0] = "True"
		case "false":
			c.values[0] = "False"
		default:
			return errors.New("isCompliant is True or False")
		}
	case c.prop.collection() && c.op != opContains:
		return errors.New("a collection needs -contains or -notContains")
	}
	return nil
}
