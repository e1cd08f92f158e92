// Package page reads a sign-in page of Microsoft Entra ID: the $Config object
// that its scripts work with, its forms, and where it sends a browser.
//
// It does no I/O and knows nothing of flows. What it returns came from the network:
// only [Page.ID], which is sanitized, is safe to display.
package page

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/net/html"
)

// MaxSize bounds a page, in bytes. The real ones have up to about 200 KiB.
const MaxSize = 2 << 20

// Ids of pages ($Config.pgid).
const (
	SignIn         = "ConvergedSignIn"
	SecondFactor   = "ConvergedTFA"
	SecurityKey    = "ConvergedFido"
	StaySignedIn   = "KmsiInterrupt"
	ProofUp        = "ConvergedProofUpRedirect"
	ChangePassword = "ConvergedChangePassword"
	Consent        = "ConvergedConsent"
	ConfirmApp     = "CmsiInterrupt"
	Terms          = "ConvergedTermsOfUse"
	Failure        = "ConvergedError"
)

// A Page holds what was found on a page. Any of it may be empty.
type Page struct {
	// ID is $Config.pgid, and consists of letters, digits, _, - and . only
	// ([Clean]).
	ID string
	// Forms are the forms, in their order.
	Forms []Form
	// Redirect is where a script sends the browser at once.
	Redirect string
	// AutoSubmit reports a page whose first form is meant to be sent as it is.
	AutoSubmit bool

	config map[string]json.RawMessage
}

// A Form is a form of a page.
type Form struct {
	ID     string
	Action string // as it stands; "" is the page's own address
	Post   bool
	Fields url.Values // inputs that have a name; buttons are left out
	Types  map[string]string
}

// A MissingError reports a page without a field that is required.
type MissingError struct{ Page, Field string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("page %s lacks %s", Name(e.Page), e.Field)
}

// Name returns an id for display.
func Name(id string) string {
	if id == "" {
		return "without an id"
	}
	return id
}

// Parse reads a page. It never fails, since any bytes parse as HTML, but the page
// that it returns may be empty.
func Parse(body []byte) *Page {
	p := &Page{}
	if len(body) > MaxSize {
		return p
	}
	doc, err := html.Parse(bytes.NewReader(body))
	if err != nil {
		return p
	}
	var text strings.Builder
	p.walk(doc, &text)
	p.AutoSubmit = len(p.Forms) > 0 && (p.config == nil || p.ID == "") && saysSubmit(text.String(), p.Forms[0])
	return p
}

func (p *Page) walk(n *html.Node, text *strings.Builder) {
	switch {
	case n.Type == html.ElementNode && n.Data == "script":
		if n.FirstChild != nil {
			p.script(n.FirstChild.Data)
		}
		return
	case n.Type == html.ElementNode && n.Data == "form":
		p.Forms = append(p.Forms, form(n))
	case n.Type == html.TextNode && text.Len() < 4096:
		text.WriteString(n.Data)
	}
	for c := range n.ChildNodes() {
		p.walk(c, text)
	}
}

// script looks in a script for the $Config object or a redirect.
func (p *Page) script(s string) {
	if p.config == nil {
		p.config = config(s)
		p.ID = Clean(p.Text("pgid"))
	}
	if p.Redirect == "" {
		p.Redirect = redirect(s)
	}
}

var assigned = regexp.MustCompile(`\$Config\s*=\s*\{`)

// config returns the object that a script assigns to $Config, or nil.
func config(script string) map[string]json.RawMessage {
	at := assigned.FindStringIndex(script)
	if at == nil {
		return nil
	}
	var out map[string]json.RawMessage
	if err := json.NewDecoder(strings.NewReader(script[at[1]-1:])).Decode(&out); err != nil {
		return nil
	}
	return out
}

var replaced = regexp.MustCompile(`document\.location\.replace\(\s*("(?:[^"\\]|\\.)*")\s*\)`)

// redirect returns the address that a script replaces the page's address with. It
// is a JavaScript string whose escapes are valid JSON too (\u0026).
func redirect(script string) string {
	m := replaced.FindStringSubmatch(script)
	if m == nil {
		return ""
	}
	var to string
	if json.Unmarshal([]byte(m[1]), &to) != nil {
		return ""
	}
	return to
}

// saysSubmit recognizes the pages whose form a script submits. For browsers without
// scripts they have a submit button or one of these texts.
func saysSubmit(text string, f Form) bool {
	if f.Types["submit"] != "" {
		return true
	}
	for _, s := range []string{"Working...", "Click Submit to continue", "Click here to finish the authorization process"} {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

func form(n *html.Node) Form {
	f := Form{ID: attr(n, "id"), Action: attr(n, "action"), Post: strings.EqualFold(attr(n, "method"), "post"),
		Fields: url.Values{}, Types: map[string]string{}}
	for c := range n.Descendants() {
		if c.Type != html.ElementNode || c.Data != "input" && c.Data != "button" {
			continue
		}
		typ, name := strings.ToLower(attr(c, "type")), attr(c, "name")
		if c.Data == "button" || typ == "submit" {
			if f.Types["submit"] == "" {
				f.Types["submit"] = "submit"
			}
			continue
		}
		if name == "" || typ == "button" || typ == "image" || (typ == "checkbox" || typ == "radio") && !has(c, "checked") {
			continue
		}
		f.Fields.Set(name, attr(c, "value"))
		f.Types[name] = typ
	}
	return f
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	for _, a := range n.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}

const maxID = 64

// Clean returns an id or a field name that consists of letters, digits, _, - and .
// only, and "" for anything else.
func Clean(s string) string {
	if len(s) > maxID {
		return ""
	}
	for _, r := range s {
		if (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '_' && r != '-' && r != '.' {
			return ""
		}
	}
	return s
}

// HasConfig reports whether the page has a $Config.
func (p *Page) HasConfig() bool { return p.config != nil }

// Text returns a field of $Config as text: a string, or a number as written. It
// returns "" if the field is missing or of another type.
func (p *Page) Text(name string) string {
	raw := p.config[name]
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return n.String()
	}
	return ""
}

// Need is Text for a required field.
func (p *Page) Need(name string) (string, error) {
	if s := p.Text(name); s != "" {
		return s, nil
	}
	return "", &MissingError{Page: p.ID, Field: name}
}

// Int returns a field that is a number, or a string that holds one, and 0
// otherwise.
func (p *Page) Int(name string) int {
	n, err := strconv.ParseInt(p.Text(name), 10, 32)
	if err != nil {
		return 0
	}
	return int(n)
}

// Strings returns a field that is a list of strings, or one string, and nil
// otherwise.
func (p *Page) Strings(name string) []string {
	var list []string
	if json.Unmarshal(p.config[name], &list) == nil {
		return list
	}
	if s := p.Text(name); s != "" {
		return []string{s}
	}
	return nil
}

// A Proof is a second factor that the user has registered.
type Proof struct {
	Method  string // such as PhoneAppOTP
	Display string // a masked number, for people
	Default bool
}

const maxProofs = 32

// Proofs returns the user's second factors ($Config.arrUserProofs).
func (p *Page) Proofs() ([]Proof, error) {
	var list []struct {
		Method  string `json:"authMethodId"`
		Default bool   `json:"isDefault"`
		Display string `json:"display"`
	}
	missing := &MissingError{Page: p.ID, Field: "arrUserProofs"}
	if json.Unmarshal(p.config["arrUserProofs"], &list) != nil {
		return nil, missing
	}
	var out []Proof
	for _, f := range list {
		if id := Clean(f.Method); id != "" && len(out) < maxProofs {
			out = append(out, Proof{Method: id, Display: f.Display, Default: f.Default})
		}
	}
	if len(out) == 0 {
		return nil, missing
	}
	return out, nil
}

var code = regexp.MustCompile(`AADSTS(\d{4,8})\b`)

// Code returns the AADSTS code that the page shows, or 0.
func (p *Page) Code() int {
	for _, name := range []string{"sErrorCode", "iErrorCode"} {
		if n := p.Int(name); n != 0 {
			return n
		}
	}
	for _, name := range []string{"strServiceExceptionMessage", "sErrTxt"} {
		if m := code.FindStringSubmatch(p.Text(name)); m != nil {
			n, _ := strconv.Atoi(m[1])
			return n
		}
	}
	return 0
}

// Shape lists the fields of $Config with their types, without their values.
func (p *Page) Shape() map[string]string {
	out := map[string]string{}
	for name, raw := range p.config {
		if name := Clean(name); name != "" {
			out[name] = kind(raw, 0)
		}
	}
	return out
}

// JSONShape is Shape for an object that an endpoint returned.
func JSONShape(body []byte) map[string]string {
	p := &Page{}
	_ = json.Unmarshal(body, &p.config)
	return p.Shape()
}

func kind(raw json.RawMessage, depth int) string {
	switch raw = bytes.TrimSpace(raw); {
	case len(raw) == 0 || raw[0] == 'n':
		return "null"
	case raw[0] == '"' && len(raw) == 2:
		return "empty string"
	case raw[0] == '"':
		return "string"
	case raw[0] == 't' || raw[0] == 'f':
		return "boolean"
	case raw[0] == '[':
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) == nil && len(list) > 0 && depth < 3 {
			return "list of " + kind(list[0], depth+1)
		}
		return "empty list"
	case raw[0] == '{':
		return "object"
	}
	return "number"
}
