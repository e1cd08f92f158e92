package main

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string
)

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"glyph":      func(s status) string { return glyphs[s] },
	"word":       func(s status) string { return statusWords[s] },
	"outcome":    func(o string) string { return outcomeWords[o] },
	"mark":       func(o string) string { return outcomeGlyphs[o] },
	"count":      count,
	"diagnostic": diagnosticText,
}).Parse(pageHTML))

// Colour never stands alone: every status has a sign and a word.
var (
	glyphs = map[status]string{
		off: "–", notApplied: "·", satisfied: "✓", asks: "?", blocks: "✕", unevaluable: "!",
	}
	statusWords = map[status]string{
		off: "disabled", notApplied: "does not apply", satisfied: "satisfied", asks: "asks the user",
		blocks: "blocks", unevaluable: "cannot be evaluated",
	}
	outcomeGlyphs = map[string]string{"grant": "✓", "interrupt": "?", "block": "✕"}
	outcomeWords  = map[string]string{"grant": "granted", "interrupt": "user is asked", "block": "blocked"}
)

// Legend lists the signs of the matrix.
func (rep *report) Legend() []status {
	return []status{satisfied, asks, blocks, notApplied, off, unevaluable}
}

// Tally counts the sign-ins of one outcome.
func (rep *report) Tally(outcome string) (n int) {
	for _, c := range rep.Columns {
		if c.Outcome == outcome {
			n++
		}
	}
	return n
}

// page renders the report as one file: style and script are inside and named
// by hash in the page's policy, which allows nothing else, so that a name in
// an export can load or run nothing.
func (rep *report) page() ([]byte, error) {
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, struct {
		*report
		CSP   string
		Style template.CSS
		Code  template.JS
	}{
		rep,
		"default-src 'none'; base-uri 'none'; form-action 'none'; style-src '" + hashOf(pageCSS) + "'; script-src '" + hashOf(pageJS) + "'",
		template.CSS(pageCSS),
		template.JS(pageJS),
	})
	return b.Bytes(), err
}

func hashOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
