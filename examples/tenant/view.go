package main

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/internal/aadsts"
)

// view is what the templates show.
type view struct {
	frame
	Now        time.Time
	Env        []variable
	Browser    string // command line
	Apps       []appView
	Users      []userView
	Groups     []groupView
	Consents   []consentView
	Devices    []deviceView
	PRTs       []prtView
	Log        []logLine // newest first
	Hidden     int       // lines that Query hides
	Older      int       // lines beyond those shown
	Status     note      // the last thing done
	Moves      []clockMove
	Policies   []string
	PolicyText string
	Phones     string // page that plays the users' phones; "": none
}

type userView struct {
	entratest.UserStatus
	Key      string // of the card, for links and focus
	Code     string // of the authenticator app; "": none
	CodeEnds time.Time
	Pending  bool // a number prompt waits
	Locked   bool
	Levels   []string
}

// appView is an application that was added to the tenant.
type appView struct {
	entratest.App
	Kind string // of the client; "": a resource
}

// Credentials names the ways besides a secret in which the application proves itself.
func (a appView) Credentials() (list []string) {
	if n := len(a.Certificates); n > 0 {
		list = append(list, count(int64(n), "certificate"))
	}
	for _, f := range a.Federated {
		list = append(list, "tokens of "+f.Issuer+" for "+f.Subject)
	}
	return list
}

type groupView struct{ entratest.GroupStatus }

// membersShown is how many members of a group the page names.
const membersShown = 20

// First are the members that the page names.
func (g groupView) First() []string { return g.Members[:min(len(g.Members), membersShown)] }

// More is how many it does not name.
func (g groupView) More() int { return max(0, len(g.Members)-membersShown) }

type consentView struct {
	entratest.Consent
	Key                      string
	ClientName, ResourceName string
}

type deviceView struct {
	entratest.DeviceStatus
	Key       string
	OwnerName string
}

type prtView struct {
	entratest.PRTStatus
	Key        string
	DeviceName string
	Age, Left  string
	Renewed    string // "": never
	MFAAge     string
}

// logLine is a sign-in or a note.
type logLine struct {
	Key    string
	SignIn *signInView // nil: a note
	Note   *note
}

type signInView struct {
	entratest.SignIn
	Client, Target string
	DeviceName     string
}

type clockMove struct{ By, Text string }

var clockMoves = []clockMove{
	{"5m", "5 minutes"}, {"1h", "1 hour"}, {"4h", "4 hours"}, {"24h", "1 day"}, {"336h", "14 days"}, {"2160h", "90 days"},
}

var riskLevels = []string{"none", "low", "medium", "high"}

// logShown is how many lines of the log the page has.
const logShown = 40

func (d *dashboard) view(query string) view {
	v := view{
		frame: d.frame("", query, true), Now: d.srv.Now(), Env: d.env, Browser: d.browser, Moves: clockMoves,
		Policies: d.srv.PolicyNames(), PolicyText: string(d.srv.Policies()),
	}
	if d.authority != "" {
		v.Phones = d.authority + "emulator/authenticator"
	} else if u, err := d.srv.AuthenticatorURL(); err == nil {
		v.Phones = u
	}
	for _, a := range d.srv.Apps() {
		if v.matches(a.Name, a.ClientID, strings.Join(a.URIs, " "), strings.Join(a.Redirects, " ")) {
			v.Apps = append(v.Apps, appView{App: a, Kind: kindOf(a)})
		}
	}
	for _, g := range d.srv.Groups() {
		if v.matches(append([]string{g.Name, g.ID}, g.Members...)...) {
			v.Groups = append(v.Groups, groupView{g})
		}
	}
	for i, c := range d.srv.Consents() {
		w := consentView{c, "consent-" + strconv.Itoa(i), d.srv.AppName(c.ClientID), d.srv.AppName(c.Resource)}
		if v.matches(append([]string{c.Username, w.ClientName, w.ResourceName, c.ClientID}, c.Scopes...)...) {
			v.Consents = append(v.Consents, w)
		}
	}
	names := map[string]string{}
	for _, dev := range d.srv.Devices() {
		names[dev.ID] = dev.DisplayName
		w := deviceView{DeviceStatus: dev, Key: "device-" + dev.ID, OwnerName: d.ownerName(dev.Owner)}
		if v.matches(dev.DisplayName, dev.ID, w.OwnerName, dev.Type, dev.TrustType) {
			v.Devices = append(v.Devices, w)
		}
	}
	slices.Reverse(v.Devices)
	for _, u := range d.srv.Users() {
		w := userView{UserStatus: u, Key: "user-" + u.ID, Pending: u.NumberPrompt, Locked: u.LockedUntil.After(v.Now), Levels: riskLevels}
		if code, ends, err := d.srv.OneTimeCode(u.Username); err == nil {
			w.Code, w.CodeEnds = code, ends
		}
		if v.matches(append([]string{u.Username, u.Name, u.ID}, u.Groups...)...) {
			v.Users = append(v.Users, w)
		}
	}
	for _, p := range d.srv.PRTs() {
		if w := prtOf(p, v.Now, names); v.matches(p.Username, w.DeviceName, p.DeviceID) {
			v.PRTs = append(v.PRTs, w)
		}
	}
	slices.Reverse(v.PRTs)
	d.fillLog(&v, names)
	return v
}

// kindOf names the kind of client that an application is registered as.
func kindOf(a entratest.App) string {
	switch {
	case len(a.Redirects) == 0:
		return ""
	case a.SPA:
		return "single-page app"
	case a.Public:
		return "desktop program"
	}
	return "web server"
}

func (d *dashboard) ownerName(id string) string {
	for _, u := range d.srv.Users() {
		if u.ID == id {
			return u.Username
		}
	}
	return id
}

func prtOf(p entratest.PRTStatus, now time.Time, names map[string]string) prtView {
	w := prtView{PRTStatus: p, Key: "prt-" + p.ID, DeviceName: cmp.Or(names[p.DeviceID], p.DeviceID), Age: duration(now.Sub(p.Born))}
	if left := p.Expires.Sub(now); left > 0 {
		w.Left = duration(left)
	}
	if p.Renewals > 0 {
		w.Renewed = duration(now.Sub(p.Issued))
	}
	if p.MFA {
		w.MFAAge = duration(now.Sub(p.MFATime))
	}
	return w
}

// fillLog merges sign-ins and notes, newest first.
func (d *dashboard) fillLog(v *view, names map[string]string) {
	d.mu.Lock()
	notes := slices.Clone(d.notes)
	d.mu.Unlock()
	if len(notes) > 0 {
		v.Status = notes[len(notes)-1]
	}
	signIns := d.srv.SignIns()
	add := func(l logLine, text string) {
		switch {
		case !v.matches(text):
			v.Hidden++
		case len(v.Log) < logShown:
			v.Log = append(v.Log, l)
		default:
			v.Older++
		}
	}
	n := len(notes) - 1
	flush := func(after int64) { // the notes made after that sign-in
		for ; n >= 0 && notes[n].After >= after; n-- {
			add(logLine{Key: "note-" + strconv.Itoa(notes[n].Serial), Note: &notes[n]}, notes[n].Text)
		}
	}
	for i := len(signIns) - 1; i >= 0; i-- {
		e := signIns[i]
		flush(e.Seq)
		w := &signInView{SignIn: e, Client: d.srv.AppName(e.ClientID), Target: d.srv.AppName(e.Resource), DeviceName: cmp.Or(names[e.DeviceID], e.DeviceID)}
		add(logLine{Key: "sign-in-" + strconv.FormatInt(e.Seq, 10), SignIn: w},
			strings.Join([]string{e.Username, e.Grant, w.Client, w.Target, w.DeviceName, strconv.Itoa(e.ErrorCode), e.CorrelationID, e.UniqueTokenID, e.IPAddress}, " "))
	}
	flush(0)
}

// Result says in a word how the sign-in ended.
func (s *signInView) Result() string {
	if s.ErrorCode == 0 {
		return "granted"
	}
	return "AADSTS" + strconv.Itoa(s.ErrorCode)
}

// Meaning returns the error in words, or "" if there is none.
func (s *signInView) Meaning() string {
	e, _ := aadsts.Lookup(s.ErrorCode)
	return e.Meaning
}

// What says what was asked for.
func (s *signInView) What() string {
	if s.Target != "" {
		return s.Target
	}
	return map[string]string{"prt": "a PRT", "prt_renewal": "a renewed PRT"}[s.Grant]
}

// Applied returns the results of the policies that applied.
func (s *signInView) Applied() []entratest.PolicyResult {
	return slices.DeleteFunc(slices.Clone(s.Policies), func(p entratest.PolicyResult) bool {
		return p.Result == "notApplied" || p.Result == "notEnabled" || p.Result == "reportOnlyNotApplied"
	})
}

// Mark is the class of the tag of a policy in the log.
func (s *signInView) Mark(p entratest.PolicyResult) string {
	switch {
	case strings.HasPrefix(p.Result, "reportOnly"):
		return "trial"
	case p.Result == "success":
		return "good"
	}
	return "bad"
}

// Who returns the user, or what else is known of the requester.
func (s *signInView) Who() string { return cmp.Or(s.Username, s.DeviceName, s.workload(), "somebody") }

// workload names the application that asked for itself, or "".
func (s *signInView) workload() string {
	if s.ServicePrincipalID == "" {
		return ""
	}
	return s.Client
}

// Others returns how many policies did not apply.
func (s *signInView) Others() int { return len(s.Policies) - len(s.Applied()) }

var resultWords = map[string]string{
	"success": "satisfied", "failure": "refused",
	"reportOnlySuccess": "report-only: would be satisfied", "reportOnlyFailure": "report-only: would refuse",
	"reportOnlyInterrupted": "report-only: would ask the user",
}

var pageFuncs = template.FuncMap{
	"clock":    func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") + " UTC" },
	"hour":     func(t time.Time) string { return t.UTC().Format("15:04:05") },
	"day":      func(t time.Time) string { return t.UTC().Format("2006-01-02") },
	"iso":      func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"join":     func(s []string) string { return strings.Join(s, ", ") },
	"result":   func(s string) string { return cmp.Or(resultWords[s], s) },
	"indented": indented,
	"export":   func(v variable) string { return "export " + v.Name + "=" + shellQuote(v.Value) },
}

// duration prints the two largest units, in words.
func duration(d time.Duration) string {
	if d < 0 {
		return "minus " + duration(-d)
	}
	units := []struct {
		name string
		size time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second}}
	for i, u := range units {
		if d < u.size && u.size > time.Second {
			continue
		}
		text := count(int64(d/u.size), u.name)
		if rest := d % u.size; i+1 < len(units) && rest >= units[i+1].size {
			text += " " + count(int64(rest/units[i+1].size), units[i+1].name)
		}
		return text
	}
	return ""
}

func count(n int64, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}
