package webflow

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/prtbroker/prtbroker/broker/webflow/internal/page"
)

// A recorder stores the shapes of pages, to help fix this package when a page
// changes. A nil recorder records nothing.
type recorder struct {
	dir string
	n   atomic.Int64
}

func newRecorder(dir string) *recorder {
	if dir == "" {
		return nil
	}
	return &recorder{dir: dir}
}

// A shape is a page without its contents: names and types, ids of pages and
// AADSTS numbers.
type shape struct {
	Method   string            `json:"method"`
	Host     string            `json:"host"`
	Path     string            `json:"path"`
	Query    []string          `json:"query,omitempty"`
	Status   int               `json:"status"`
	Page     string            `json:"pgid,omitempty"`
	Code     int               `json:"aadsts,omitempty"`
	Config   map[string]string `json:"config,omitempty"`
	Forms    []formShape       `json:"forms,omitempty"`
	Script   string            `json:"scriptRedirect,omitempty"`
	Redirect string            `json:"redirect,omitempty"`
}

type formShape struct {
	ID     string   `json:"id,omitempty"`
	Action string   `json:"action"`
	Fields []string `json:"fields"`
}

func (rec *recorder) record(method string, u *url.URL, r *reply, location string) {
	if rec == nil {
		return
	}
	p := page.Parse(r.body)
	s := shape{Method: method, Host: u.Host, Path: pathShape(u), Query: slices.Sorted(maps.Keys(u.Query())), Status: r.status,
		Page: p.ID, Code: p.Code(), Config: p.Shape(), Script: addressShape(u, p.Redirect), Redirect: addressShape(u, location)}
	if !p.HasConfig() && json.Valid(r.body) {
		s.Config = page.JSONShape(r.body)
	}
	for _, f := range p.Forms {
		s.Forms = append(s.Forms, formShape{ID: page.Clean(f.ID), Action: addressShape(u, f.Action), Fields: cleaned(slices.Sorted(maps.Keys(f.Fields)))})
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return
	}
	name := filepath.Join(rec.dir, fmt.Sprintf("%03d-%s.json", rec.n.Add(1), shortName(p.ID, u)))
	_ = os.WriteFile(name, append(data, '\n'), 0o600) // a failure here does not fail the sign-in
}

func shortName(id string, u *url.URL) string {
	if id != "" {
		return id
	}
	if name := page.Clean(u.Path[strings.LastIndex(u.Path, "/")+1:]); name != "" {
		return name
	}
	return "page"
}

func cleaned(names []string) []string {
	out := []string{}
	for _, n := range names {
		out = append(out, page.Clean(n))
	}
	return out
}

// pathShape keeps the words of a path and drops other parts, such as tenant ids
// and tokens.
func pathShape(u *url.URL) string {
	parts := strings.Split(u.Path, "/")
	for i, p := range parts {
		if p != "" && (len(p) > 32 || strings.Trim(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.0") != "" && p != "oauth2") {
			parts[i] = "{}"
		}
	}
	return strings.Join(parts, "/")
}

// addressShape is an address without the values of its query.
func addressShape(base *url.URL, to string) string {
	if to == "" {
		return ""
	}
	u, err := base.Parse(to)
	if err != nil {
		return "malformed"
	}
	s := u.Scheme + "://" + u.Host + pathShape(u)
	if keys := slices.Sorted(maps.Keys(u.Query())); len(keys) > 0 {
		s += "?" + strings.Join(cleaned(keys), "&")
	}
	return s
}
