package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// render judges testdata/personas.json by an export and returns the page.
func render(t *testing.T, export, personas string) (status int, summary, page string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.html")
	status, summary, errs := whatif("-policies", export, "-matrix", personas, "-html", file)
	require.Empty(t, errs)
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	return status, summary, string(data)
}

// Sign-ins that end otherwise than expected give status 1; gaps are marked.
func TestMatrixSummary(t *testing.T) {
	status, summary, _ := render(t, clinic, "testdata/personas.json")
	require.Equal(t, statusUnexpected, status)
	golden(t, "summary.txt", summary)
}

// With every expectation met the status is 0.
func TestMatrixAsExpected(t *testing.T) {
	file := filepath.Join(t.TempDir(), "m.json")
	require.NoError(t, os.WriteFile(file, []byte(`{
		"personas": [{"name": "A", "id": "a"}],
		"signIns": [{"name": "IMAP", "app": "exchange", "clientApp": "other", "expect": "block"}]}`), 0o644))
	status, summary, errs := whatif("-policies", clinic, "-matrix", file)
	require.Empty(t, errs)
	require.Zero(t, status)
	require.Contains(t, summary, "all as expected")
}

var (
	tag       = regexp.MustCompile(`<(/?)([a-zA-Z][a-zA-Z0-9]*)((?:"[^"]*"|'[^']*'|[^>"'])*)>`)
	attribute = regexp.MustCompile(`([a-z-]+)(?:="([^"]*)")?`)
	rawText   = regexp.MustCompile(`(?s)<(style|script)>.*?</(style|script)>`)
)

// element is a start tag of the page.
type element struct {
	name  string
	attrs map[string]string
}

// elements reads the tags of a page and fails unless they nest.
func elements(t *testing.T, page string) (out []element) {
	t.Helper()
	void := []string{"meta", "input", "br", "hr", "link", "img"}
	var open []string
	for _, m := range tag.FindAllStringSubmatch(rawText.ReplaceAllString(page, ""), -1) {
		closing, name := m[1] == "/", m[2]
		if closing {
			require.NotEmpty(t, open, "</%s> closes nothing", name)
			require.Equal(t, open[len(open)-1], name, "inside %v", open)
			open = open[:len(open)-1]
			continue
		}
		e := element{name, map[string]string{}}
		for _, a := range attribute.FindAllStringSubmatch(m[3], -1) {
			e.attrs[a[1]] = a[2]
		}
		out = append(out, e)
		if !slices.Contains(void, name) {
			open = append(open, name)
		}
	}
	require.Empty(t, open)
	return out
}

func TestPageStructure(t *testing.T) {
	_, _, page := render(t, clinic, "testdata/personas.json")
	const policies, signIns = 17, 28

	ids, counts := map[string]bool{}, map[string]int{}
	all := elements(t, page)
	for _, e := range all {
		counts[e.name]++
		if id, ok := e.attrs["id"]; ok {
			require.False(t, ids[id], "id %s twice", id)
			ids[id] = true
		}
	}
	cells := 0
	for _, e := range all {
		if to, ok := e.attrs["popovertarget"]; ok {
			require.True(t, ids[to], "no explanation %s", to)
		}
		if href, ok := e.attrs["href"]; ok {
			require.True(t, strings.HasPrefix(href, "#") && ids[href[1:]], "link to %s", href)
		}
		if e.name == "button" && e.attrs["class"] == "cell" {
			require.NotEmpty(t, e.attrs["aria-label"])
			require.NotEmpty(t, e.attrs["popovertarget"])
			cells++
		}
		if e.name == "th" {
			require.Contains(t, []string{"row", "col", "colgroup"}, e.attrs["scope"])
		}
		for _, name := range []string{"src", "srcset", "action", "style", "onclick"} {
			require.NotContains(t, e.attrs, name)
		}
	}
	require.Equal(t, signIns*(policies+1), cells, "every policy and the decision, for every sign-in")
	require.Equal(t, 1, counts["h1"])
	require.Equal(t, 1, counts["main"])
	require.Equal(t, 1, strings.Count(page, "<script>"))
	for _, outside := range []string{"http:", "https:", "//cdn", "url(", "@import", "<link", "<img", "<iframe"} {
		require.NotContains(t, rawText.ReplaceAllString(page, ""), outside)
		require.NotContains(t, pageCSS+pageJS, outside)
	}
	require.Contains(t, page, `<html lang="en">`)
	require.Contains(t, page, `name="viewport"`)

	gaps, matrix := strings.Index(page, `id="gaps-title"`), strings.Index(page, `id="matrix-title"`)
	require.True(t, 0 < gaps && gaps < matrix, "gaps come first")
	require.Contains(t, page[gaps:matrix], "Break glass: Azure portal with a FIDO2 key")
	require.Contains(t, page[strings.Index(page, `id="diagnostics-title"`):], "conditions.times")
}

// A gap that nobody expected comes before one that is meant.
func TestGapOrder(t *testing.T) {
	_, _, page := render(t, clinic, "testdata/personas.json")
	unmet, open, meant := strings.Index(page, "Nurse: Visitor kiosk"), strings.Index(page, "Break glass: Old mail client"), strings.Index(page, "Break glass: Azure portal")
	require.True(t, unmet < open && open < meant, "%d %d %d", unmet, open, meant)
}

// The style and the script are what the page's policy allows, to the byte.
func TestPageNamesItsCode(t *testing.T) {
	_, _, page := render(t, clinic, "testdata/personas.json")
	for _, kind := range []string{"style", "script"} {
		_, rest, _ := strings.Cut(page, "<"+kind+">")
		code, _, _ := strings.Cut(rest, "</"+kind+">")
		want := strings.ReplaceAll(hashOf(code), "+", "&#43;")
		require.Contains(t, page, kind+"-src &#39;"+want+"&#39;")
	}
}

// Names in an export are text, whatever they look like.
func TestHostileNames(t *testing.T) {
	const evil = `</script><script>alert("1")</script><img src=x onerror=alert(1)>`
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "p.json"), fmt.Appendf(nil, `{
		"id": "p", "displayName": %q, "state": "enabled",
		"conditions": {"users": {"includeUsers": ["All"]}, "applications": {"includeApplications": ["All"]}, "evil": %q},
		"grantControls": {"operator": "OR", "builtInControls": ["mfa"]}}`, evil, evil), 0o644))
	personas := filepath.Join(dir, "personas.txt")
	require.NoError(t, os.WriteFile(personas, fmt.Appendf(nil, `{
		"personas": [{"name": %q, "id": "a"}], "signIns": [{"name": %q, "app": "exchange"}]}`, evil, evil), 0o644))
	_, _, page := render(t, dir, personas)
	require.Equal(t, 1, strings.Count(page, "<script"))
	for _, e := range elements(t, page) {
		require.NotEqual(t, "img", e.name)
	}
	require.Contains(t, page, "&lt;img src=x onerror=alert(1)&gt;")
}

// Text and its ground differ by at least 4.5:1 in light and dark (WCAG 2.2,
// 1.4.3).
func TestContrast(t *testing.T) {
	schemes := regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllStringSubmatch(pageCSS, -1)
	require.Len(t, schemes, 2)
	for _, s := range schemes {
		colour := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6})`).FindAllStringSubmatch(s[1], -1) {
			colour[m[1]] = luminance(t, m[2])
		}
		for _, pair := range [][2]string{
			{"text", "back"}, {"soft", "back"}, {"soft", "panel"}, {"text", "panel"}, {"link", "back"}, {"link", "panel"},
			{"ok-t", "ok-b"}, {"ask-t", "ask-b"}, {"no-t", "no-b"}, {"un-t", "un-b"},
		} {
			a, b := colour[pair[0]], colour[pair[1]]
			require.GreaterOrEqual(t, (max(a, b)+.05)/(min(a, b)+.05), 4.5, "%v", pair)
		}
	}
}

// luminance is the relative luminance of a colour (WCAG 2.2), by the square
// in place of the exact curve.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(hex, 16, 32)
	require.NoError(t, err)
	linear := func(v uint64) float64 { c := float64(v&0xff) / 255; return c * c }
	return .2126*linear(n>>16) + .7152*linear(n>>8) + .0722*linear(n)
}
