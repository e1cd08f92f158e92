package main

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/internal/aadsts"
)

// frame is what every page shows around its content.
type frame struct {
	Title            string // "": the dashboard's own; ends with a dash otherwise
	Domain, TenantID string
	Query            string // what is searched for; "": everything is shown
	Live             bool   // the page keeps itself up to date
}

func (d *dashboard) frame(title, query string, live bool) frame {
	if title != "" {
		title += " – "
	}
	return frame{Title: title, Domain: d.srv.Domain(), TenantID: d.srv.TenantID(), Query: strings.TrimSpace(query), Live: live}
}

// Suffix carries the search to another part of the dashboard.
func (f frame) Suffix() string {
	if f.Query == "" {
		return ""
	}
	return "?" + url.Values{"q": {f.Query}}.Encode()
}

// matches reports whether any of the texts contains what is searched for.
func (f frame) matches(texts ...string) bool {
	return f.Query == "" || strings.Contains(strings.ToLower(strings.Join(texts, "\n")), strings.ToLower(f.Query))
}

// detailView is the page of one sign-in.
type detailView struct {
	frame
	Detail        entratest.SignInDetail
	Policies      []policyView
	Meaning       string // of the error; "": none, or unknown
	Before, After int64  // numbers of the neighbours; After zero: it is the last
}

// Who names the user, or the application that asked for itself.
func (v detailView) Who() string {
	return cmp.Or(v.Detail.SignIn.Username, v.Detail.ClientName, "somebody")
}

// ClientApp names the kind of client as the sign-in log does.
func (v detailView) ClientApp() string {
	return map[string]string{"browser": "Browser", "mobileAppsAndDesktopClients": "Mobile apps and desktop clients"}[v.Detail.ClientApp]
}

// Words names a result as the sign-in log does.
func (v detailView) Words(result string) string { return resultName(result) }

// policyView is a policy of a sign-in.
type policyView struct{ entratest.PolicyDetail }

// Words is the result as the sign-in log names it.
func (p policyView) Words() string { return resultName(p.Result) }

// Mark is the class of its tag.
func (p policyView) Mark() string {
	switch {
	case strings.HasPrefix(p.Result, "reportOnly"):
		return "trial"
	case p.Result == "success":
		return "good"
	case p.Result == "failure":
		return "bad"
	}
	return ""
}

// Why names the condition that did not match.
func (p policyView) Why() string {
	if p.NotMatched == "" || p.Result == "notEnabled" {
		return ""
	}
	return cmp.Or(conditionNames[p.NotMatched], p.NotMatched)
}

// conditionNames are the names of conditions on the pages of Conditional Access, by the
// value of whatIfAnalysisReasons.
var conditionNames = map[string]string{
	"users": "Users", "workloadIdentities": "Workload identities", "application": "Target resources", "userActions": "User actions",
	"authenticationContext": "Authentication context", "devicePlatform": "Device platforms", "devices": "Filter for devices", "clientApps": "Client apps",
	"location": "Locations", "signInRisk": "Sign-in risk", "userRisk": "User risk", "insiderRisk": "Insider risk", "authenticationFlow": "Authentication flows",
	"emptyPolicy": "Users: the policy includes nobody", "invalidPolicy": "the policy cannot be evaluated",
	"notEnoughInformation": "not enough is known about the sign-in", "agentIdentities": "Agent identities",
}

func resultName(result string) string {
	return cmp.Or(map[string]string{
		"success": "Success", "failure": "Failure", "notApplied": "Not applied", "notEnabled": "Disabled",
		"reportOnlySuccess": "Report-only: Success", "reportOnlyFailure": "Report-only: Failure",
		"reportOnlyInterrupted": "Report-only: User action required", "reportOnlyNotApplied": "Report-only: Not applied",
	}[result], result)
}

func policyViews(list []entratest.PolicyDetail) (out []policyView) {
	for _, p := range list {
		out = append(out, policyView{p})
	}
	return out
}

func (d *dashboard) showSignIn(w http.ResponseWriter, r *http.Request) {
	seq, err := strconv.ParseInt(r.PathValue("seq"), 10, 64)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	detail, ok := d.srv.SignInDetail(seq)
	if !ok {
		http.Error(w, "tenant: the log has no such sign-in", http.StatusNotFound)
		return
	}
	meaning, _ := aadsts.Lookup(detail.SignIn.ErrorCode)
	v := detailView{frame: d.frame("Sign-in "+strconv.FormatInt(seq, 10), "", false), Detail: detail,
		Policies: policyViews(detail.Policies), Meaning: meaning.Meaning, Before: seq - 1}
	if _, more := d.srv.SignInDetail(seq + 1); more {
		v.After = seq + 1
	}
	d.write(w, "signin.html", v)
}

// tokensView is the page that says what is in a token.
type tokensView struct {
	frame
	Report   *entratest.TokenReport // nil: none was pasted
	Policies []policyView
}

func (d *dashboard) showTokens(w http.ResponseWriter, r *http.Request) {
	v := tokensView{frame: d.frame("Tokens", "", false)}
	if r.Method == http.MethodPost {
		r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
		if err := r.ParseForm(); err != nil {
			http.Error(w, "tenant: the form cannot be read", http.StatusBadRequest)
			return
		}
		report := d.srv.InspectToken(r.PostForm.Get("token"))
		v.Report, v.Policies = &report, policyViews(report.Policies)
	}
	d.write(w, "tokens.html", v)
}

// indented writes a JSON object over several lines.
func indented(raw json.RawMessage) string {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return string(raw)
	}
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return string(raw)
	}
	return string(text)
}
