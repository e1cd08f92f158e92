package main

import (
	"bytes"
	"embed"
	"encoding/json"
	"html/template"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

//go:embed web
var web embed.FS

// contentPolicy lets the page use its own two files and nothing else.
const contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// dashboard is the page of the tenant. It is served only under a loopback name, or one
// of the configured names, only on loopback unless it is exposed, and accepts changes
// only from its own pages: another site's page, opened in the same browser, can neither
// read it nor press its buttons.
type dashboard struct {
	srv     *entratest.Server
	clock   *entratest.Clock
	env     []variable
	port    string
	hosts   []string // names besides those of loopback
	exposed bool     // to other machines, through ports that are not known here

	browser   string // command line that starts one for this tenant
	authority string // base of -listen; "": none

	page *template.Template
	mux  *http.ServeMux

	mu     sync.Mutex // guards notes
	notes  []note     // what was done here, oldest first
	serial int        // of the last note
}

// note is one thing done on the dashboard.
type note struct {
	Serial int
	After  int64     // sequence number of the sign-in before it
	Time   time.Time // of the tenant's clock
	Text   string
	Failed bool
}

const keptNotes = 200

func newDashboard(srv *entratest.Server, clock *entratest.Clock, env []variable, addr string) *dashboard {
	_, port, _ := net.SplitHostPort(addr)
	d := &dashboard{srv: srv, clock: clock, env: env, port: port, mux: http.NewServeMux()}
	d.page = template.Must(template.New("").Funcs(pageFuncs).ParseFS(web, "web/*.html"))
	static, err := fs.Sub(web, "web")
	if err != nil {
		panic(err) // the directory is embedded
	}
	files := http.FileServerFS(static)
	for _, name := range []string{"style.css", "live.js", "icon.svg"} {
		d.mux.Handle("GET /"+name, files)
	}
	d.mux.HandleFunc("GET /{$}", d.show("page.html"))
	d.mux.HandleFunc("GET /live", d.show("live.html"))
	d.mux.HandleFunc("GET /sign-ins/{seq}", d.showSignIn)
	d.mux.HandleFunc("GET /tokens", d.showTokens)
	d.mux.HandleFunc("POST /tokens", d.showTokens)
	d.mux.HandleFunc("GET /state.json", d.showJSON)
	d.mux.HandleFunc("GET /ca.pem", d.showCA)
	d.mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	d.mux.HandleFunc("POST /do/{event}", d.do)
	return d
}

// serveAPI puts the administrator's interface below /api.
func (d *dashboard) serveAPI(h http.Handler) { d.mux.Handle("/api/", http.StripPrefix("/api", h)) }

func (d *dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if why := d.refuse(r); why != "" {
		http.Error(w, "tenant: "+why, http.StatusForbidden)
		return
	}
	d.mux.ServeHTTP(w, r)
}

// refuse returns the reason why a request is refused, or "". The name check
// defeats DNS rebinding; the origin check, forged requests. Programs send
// neither Origin nor Sec-Fetch-Site and are let in: they run on this machine
// already.
func (d *dashboard) refuse(r *http.Request) string {
	if addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && !d.exposed {
		if host, _, err := net.SplitHostPort(addr.String()); err != nil || !isLoopbackName(host) {
			return "the dashboard is served only on loopback"
		}
	}
	at := url.URL{Host: r.Host}
	if !d.exposed && at.Port() != d.port || !d.answersTo(at.Hostname()) {
		return "the dashboard answers only to a loopback name and to those of -base and -hosts"
	}
	site := r.Header.Get("Sec-Fetch-Site")
	if site == "cross-site" || site == "same-site" {
		if r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document" {
			return "" // a link to the page
		}
		return "another site's page asked for this"
	}
	if origin := r.Header.Get("Origin"); origin != "" && origin != "http://"+r.Host {
		return "another origin asked for this"
	}
	return ""
}

func (d *dashboard) answersTo(host string) bool {
	return isLoopbackName(host) || slices.ContainsFunc(d.hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

func (d *dashboard) show(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		d.write(w, name, d.view(r.URL.Query().Get("q")))
	}
}

// write answers with a page.
func (d *dashboard) write(w http.ResponseWriter, name string, v any) {
	var buf bytes.Buffer
	if err := d.page.ExecuteTemplate(&buf, name, v); err != nil {
		http.Error(w, "tenant: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(buf.Len()))
	_, _ = w.Write(buf.Bytes())
}

// state is the content of the page, for programs.
type state struct {
	Domain   string                   `json:"domain"`
	TenantID string                   `json:"tenantId"`
	Now      time.Time                `json:"now"`
	Users    []entratest.UserStatus   `json:"users"`
	Devices  []entratest.DeviceStatus `json:"devices"`
	PRTs     []entratest.PRTStatus    `json:"prts"`
	SignIns  []entratest.SignIn       `json:"signIns"`
}

func (d *dashboard) showJSON(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(state{ // a client that hung up needs no answer
		Domain: d.srv.Domain(), TenantID: d.srv.TenantID(), Now: d.srv.Now(), Users: d.srv.Users(),
		Devices: d.srv.Devices(), PRTs: d.srv.PRTs(), SignIns: d.srv.SignIns(),
	})
}

// showCA gives the authority's certificate, as browsers import it.
func (d *dashboard) showCA(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/x-x509-ca-cert")
	w.Header().Set("Content-Disposition", `attachment; filename="ca.pem"`)
	_, _ = w.Write(d.srv.CA())
}

// do carries out an event and shows the page again.
func (d *dashboard) do(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "tenant: the form cannot be read", http.StatusBadRequest)
		return
	}
	e, ok := events[r.PathValue("event")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	text, err := e(d, r.PostForm)
	d.note(text, err)
	if err != nil && r.Header.Get("Sec-Fetch-Mode") == "" { // a program
		http.Error(w, "tenant: "+err.Error(), http.StatusUnprocessableEntity)
		return
	}
	to := "/"
	if q := r.PostForm.Get("q"); q != "" {
		to += "?q=" + template.URLQueryEscaper(q)
	}
	if at := r.PostForm.Get("at"); at != "" && strings.Trim(at, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" {
		to += "#" + at
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

func (d *dashboard) note(text string, err error) {
	n := note{Time: d.srv.Now(), Text: text}
	if err != nil {
		n.Text, n.Failed = strings.TrimPrefix(err.Error(), "entratest: "), true
	}
	if log := d.srv.SignIns(); len(log) > 0 {
		n.After = log[len(log)-1].Seq
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.serial++
	n.Serial = d.serial
	d.notes = append(d.notes, n)
	if len(d.notes) > keptNotes {
		d.notes = d.notes[len(d.notes)-keptNotes:]
	}
}
