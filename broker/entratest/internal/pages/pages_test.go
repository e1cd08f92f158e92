package pages_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
)

// hostile is what a directory or a request may hold.
const hostile = `</script><script>alert(1)</script>"'<b>&`

// full is a page with everything that any template shows.
func full(name string) pages.Page {
	return pages.Page{
		Name: name, Title: "Title " + hostile, Tenant: "Tenant " + hostile, Error: "Error " + hostile, Code: 50126, Text: "Text " + hostile,
		Action: "https://login.microsoftonline.com/t/login", To: "https://app.example/back?x=1&y=2", Username: "user" + hostile,
		Hidden: []pages.Field{{Name: "ctx", Value: "context " + hostile}}, Methods: []pages.Method{{ID: "PhoneAppOTP", Label: "A code " + hostile}},
		Method: "method" + hostile, Label: "Label " + hostile, Phone: "+XX XX11", Number: 42, HopTo: "https://login.microsoft.com/t/fido",
		Hop: []pages.Field{{Name: "hop", Value: hostile}}, Skip: "https://login.microsoftonline.com/skip", CertAuth: "https://certauth.example/",
		OtherWay: true, Prompts: []pages.Prompt{{ID: "1", User: hostile, App: hostile, Kind: "number"}, {ID: "2", User: "bob", Kind: "call"}, {ID: "3", User: "bob", Kind: "message", Code: "123456"}},
		Secret: "JBSWY3DP", Scopes: []string{hostile}, App: "App " + hostile,
		Config: map[string]any{"sCtx": hostile, "urlPost": "/t/login"}, Nonce: "bm9uY2U",
	}
}

// render writes a page, with the text of the reply and its elements.
func render(t *testing.T, p pages.Page) (*httptest.ResponseRecorder, []*html.Node) {
	t.Helper()
	w := httptest.NewRecorder()
	p.Write(w, http.StatusTeapot)
	root, err := html.Parse(strings.NewReader(w.Body.String()))
	require.NoError(t, err)
	var all []*html.Node
	for n := range root.Descendants() {
		if n.Type == html.ElementNode {
			all = append(all, n)
		}
	}
	return w, all
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func templates(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("*.html")
	require.NoError(t, err)
	for _, f := range files {
		if name := strings.TrimSuffix(f, ".html"); name != "layout" {
			names = append(names, name)
		}
	}
	require.NotEmpty(t, names)
	return names
}

// A page loads nothing from elsewhere, runs no script but its own, and whatever
// the directory holds stays text.
func TestEveryPage(t *testing.T) {
	for _, name := range templates(t) {
		t.Run(name, func(t *testing.T) {
			w, all := render(t, full(name))
			require.Equal(t, http.StatusTeapot, w.Code)
			require.NotContains(t, w.Body.String(), "alert(1)</script>")
			require.NotContains(t, w.Body.String(), "ZgotmplZ", "a value of another kind than its place takes")
			scripts := 0
			for _, n := range all {
				require.NotContains(t, []string{"link", "img", "iframe", "object", "embed", "base"}, n.Data)
				require.Empty(t, attr(n, "src"))
				for _, a := range n.Attr {
					require.Falsef(t, strings.HasPrefix(a.Key, "on"), "a handler in an attribute, which the policy forbids: %s", a.Key)
				}
				switch n.Data {
				case "script", "style":
					require.Equal(t, "bm9uY2U", attr(n, "nonce"))
					if n.Data == "script" {
						scripts++
					}
				case "b":
					t.Error("markup of a value became markup of the page")
				case "form":
					require.Contains(t, []string{"post", "get"}, attr(n, "method"))
					require.NotEmpty(t, attr(n, "id"), "programs find a form by its id")
				case "input", "button":
					requireLabelled(t, n, all)
				}
			}
			require.LessOrEqual(t, scripts, 2, "a value became a script")
		})
	}
}

// requireLabelled checks that a person who does not see the page hears what a
// field is.
func requireLabelled(t *testing.T, n *html.Node, all []*html.Node) {
	t.Helper()
	if n.Data == "button" {
		require.NotNil(t, n.FirstChild, "a button without a text")
		return
	}
	if kind := attr(n, "type"); kind == "hidden" || kind == "submit" {
		return
	}
	id := attr(n, "id")
	require.Truef(t, slices.ContainsFunc(all, func(l *html.Node) bool { return l.Data == "label" && attr(l, "for") == id }), "no label for %s", id)
}

// The hidden fields of a page are in each form that leads on: programs post them
// as they are.
func TestHiddenFields(t *testing.T) {
	for _, name := range templates(t) {
		_, all := render(t, full(name))
		for _, n := range all {
			id := attr(n, "id")
			if n.Data != "form" || id == "skip" || id == "securitykey" || id == "reload" || strings.HasPrefix(id, "prompt-") {
				continue
			}
			have := false
			for d := range n.Descendants() {
				have = have || d.Data == "input" && attr(d, "name") == "ctx" && attr(d, "value") == "context "+hostile
			}
			require.Truef(t, have, "form %s of page %s has not the hidden field as it was given", id, name)
		}
	}
}

func TestConfigIsReadAsJSON(t *testing.T) {
	w, _ := render(t, full("signin"))
	_, rest, ok := strings.Cut(w.Body.String(), "$Config=")
	require.True(t, ok)
	text, _, ok := strings.Cut(rest, ";\n//]]>")
	require.True(t, ok)
	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &got))
	require.Equal(t, map[string]any{"sCtx": hostile, "urlPost": "/t/login"}, got)
}

// An address in a script reads as on the real page: & is & and slashes stay.
func TestRedirectInScript(t *testing.T) {
	w, _ := render(t, full("redirect"))
	require.Contains(t, w.Body.String(), `document.location.replace("https://app.example/back?x=1\u0026y=2");`)
	require.Contains(t, w.Body.String(), `<a href="https://app.example/back?x=1&amp;y=2">`)
}

func TestHeaders(t *testing.T) {
	for name, c := range map[string]struct{ to, want string }{
		"within the service": {"", "form-action 'self';"},
		"to the app":         {"https://app.example", "form-action 'self' https://app.example;"},
		"two origins":        {"https://a.example https://b.example", "form-action 'self' https://a.example https://b.example;"},
	} {
		p := full("formpost")
		p.FormAct = c.to
		w, _ := render(t, p)
		h := w.Header()
		policy := h.Get("Content-Security-Policy")
		require.Contains(t, policy, c.want, name)
		for _, part := range []string{"default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "style-src 'nonce-bm9uY2U'", "script-src 'nonce-bm9uY2U'"} {
			require.Contains(t, policy, part, name)
		}
		require.Equal(t, "text/html; charset=utf-8", h.Get("Content-Type"))
		require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"))
		require.Equal(t, "DENY", h.Get("X-Frame-Options"))
		require.Equal(t, "no-referrer", h.Get("Referrer-Policy"))
		require.Contains(t, h.Get("Cache-Control"), "no-store")
	}
}

func TestStyleIsInThePage(t *testing.T) {
	style, err := os.ReadFile("style.css")
	require.NoError(t, err)
	w, _ := render(t, full("message"))
	require.Contains(t, w.Body.String(), string(style))
	require.NotContains(t, string(style), "url(", "a style that loads something")
}

func TestUnknownPage(t *testing.T) {
	require.PanicsWithValue(t, `pages: html/template: "nowhere.html" is undefined`, func() { full("nowhere").Write(httptest.NewRecorder(), http.StatusOK) })
}
