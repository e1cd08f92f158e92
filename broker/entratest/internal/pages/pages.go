// Package pages renders the sign-in pages of the emulator: plain HTML that
// works without script and at the width of a phone, with nothing loaded from
// elsewhere, and the $Config object that programs read from the real pages.
package pages

import (
	"bytes"
	"embed"
	"encoding/json"
	"html/template"
	"net/http"
)

//go:embed *.html style.css
var files embed.FS

var (
	templates = template.Must(template.New("").ParseFS(files, "*.html"))
	style     = mustRead("style.css")
)

func mustRead(name string) template.CSS {
	data, err := files.ReadFile(name)
	if err != nil {
		panic("pages: " + err.Error())
	}
	return template.CSS(data)
}

// Page is one page. Unused fields are empty.
type Page struct {
	Name   string // of the template, without .html
	Title  string
	Tenant string // display name

	Error string // shown as an alert
	Code  int    // AADSTS code of Error; zero: none
	// Text is a paragraph.
	Text string

	Action string // of the main form
	// To is the action of a form that leaves the service: a registered redirect
	// URI, whose scheme may be the app's own.
	To       template.URL
	Username string
	Hidden   []Field // hidden fields of every form
	Methods  []Method
	Method   string  // second factor that the page takes
	Label    string  // of the field for a code
	Phone    string  // number that was called or texted, masked
	Number   int     // to type into the authenticator app
	Again    string  // label of the button for another prompt; "" while one waits
	HopTo    string  // where a passkey signs: another host
	Hop      []Field // hidden fields of the form that leads there
	Skip     string  // link that skips what the page asks for; "": it cannot be skipped
	CertAuth string  // where the browser presents a user certificate; "": not offered
	OtherWay bool    // leads back to the first page
	Prompts  []Prompt
	Secret   string // base32, to type into an authenticator app
	Scopes   []string
	App      string

	Config  map[string]any // $Config
	FormAct string         // further origins or schemes, separated by spaces, that forms may lead to
	Nonce   string         // of the content security policy

	Style   template.CSS // set by Write
	Replace template.JS  // To as a script string; set by Write
	JSON    template.JS  // set by Write
}

// Message returns a page that shows a message without a form.
func Message(nonce, title, text string) Page {
	return Page{Name: "message", Title: title, Text: text, Nonce: nonce, Config: map[string]any{"pgid": "ConvergedMessage"}}
}

// Field is a hidden form field.
type Field struct{ Name, Value string }

// Method is a second factor to choose.
type Method struct{ ID, Label string }

// Prompt is a prompt on a user's phone.
type Prompt struct {
	ID, User, App string
	Kind          string // number, call, message
	Code          string // in a message
	Left          string // time that is left to answer
}

// Write renders the page.
func (p Page) Write(w http.ResponseWriter, status int) {
	p.Style = style
	config, err := json.Marshal(p.Config) // escapes < and >, so that it cannot end the script
	if err != nil {
		panic("pages: " + err.Error()) // a plain map
	}
	p.Replace = scriptText(string(p.To))
	p.JSON = template.JS("//<![CDATA[\n$Config=" + string(config) + ";\n//]]>")
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, p.Name+".html", p); err != nil {
		panic("pages: " + err.Error()) // a template of this package
	}
	formAction := "'self'"
	if p.FormAct != "" {
		formAction += " " + p.FormAct
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action "+formAction+
		"; style-src 'nonce-"+p.Nonce+"'; script-src 'nonce-"+p.Nonce+"'; connect-src 'self'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store, no-cache")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// scriptText returns a string literal for a script. HTML characters are escaped as in
// JSON, and slashes are not: the real page writes & as \u0026.
func scriptText(s string) template.JS {
	text, err := json.Marshal(s)
	if err != nil {
		panic("pages: " + err.Error()) // a string
	}
	return template.JS(text)
}
