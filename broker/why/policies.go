package why

import (
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
	"github.com/prtbroker/prtbroker/prt"
)

// policies evaluates the policies of the tenant for the PRTs, in the order in
// which they would be tried.
func (w *chain) policies(prts []PRT) {
	set := w.Policies
	if set == nil {
		w.fact("Are the tenant's policies known?", claims.Unknown, "")
		w.decide(Unknown, w.observed("the tenant's policies are not known here"))
		return
	}
	id := w.ResourceID
	if id == "" {
		w.decide(Unknown, "the application id of the resource is not known: set ResourceID")
		return
	}
	w.fact("Are the tenant's policies known?", claims.Yes, "")
	if app := set.BaselineApp(); app != "" && policy.ScopesOf(w.Scopes) != policy.AnyScopes {
		w.fact("Do the policies see a resource?", claims.No, "for Conditional Access these scopes alone are access to the directory, app "+app)
	}
	w.judge(set, id)
	tried := []refused{{prts[0].Session, w.stale()}}
	for i := 1; i < len(prts) && w.out.Verdict != Silent; i++ {
		if mayHelp(prts[i], tried) {
			stale := w.tryOther(set, id, &prts[i])
			tried = append(tried, refused{prts[i].Session, stale})
		}
	}
	if w.out.Verdict == Refused && !slices.ContainsFunc(tried, func(t refused) bool { return t.DeviceCode != claims.Yes }) {
		w.tryPage(set, id)
	}
}

// refused is the session of a PRT that the policies refuse, because of the age
// of its sign-in or MFA (stale) or for another reason.
type refused struct {
	claims.Session
	stale bool
}

// mayHelp reports whether a PRT may be served where others were refused.
func mayHelp(p PRT, others []refused) bool {
	if p.State == prt.Expired {
		return false
	}
	return !slices.ContainsFunc(others, func(r refused) bool { return !p.Session.MayAdd(r.Session, r.stale) })
}

// tryPage evaluates a sign-in on a page in place of the device code that all
// PRTs began with. If that is not blocked, the user is asked for it.
func (w *chain) tryPage(set *policy.Set, id string) {
	page := *w.prt
	page.Session.DeviceCode = claims.No
	other := *w
	other.prt, other.out.Policies = &page, nil
	other.judge(set, id)
	switch other.out.Verdict {
	case Silent, Asked:
		w.decide(Asked, "policy "+policyNames(&w.out.Decision)+" refuses what began with a device code; a sign-in on a page is not refused")
	case Unknown:
		w.decide(Unknown, other.out.Because)
	}
}

// stale reports whether the age of a sign-in is what the policies ask about, or
// may be.
func (w *chain) stale() bool {
	if w.out.Verdict == Unknown {
		return true
	}
	for c := range w.out.Decision.Prompt() {
		return c.Kind == policy.Reauthenticate || c.Kind == policy.ReauthenticateMFA
	}
	return false
}

// tryOther evaluates a PRT other than the strongest. If it is served, the user
// is not asked; if that is not known, the answer is left open.
func (w *chain) tryOther(set *policy.Set, id string, e *PRT) (stale bool) {
	other := *w
	other.prt = e
	other.Facts.Methods = 0 // they are those of the strongest
	other.out.Policies = nil
	other.judge(set, id)
	detail := "from " + string(e.Credential) + ", " + e.Session.Methods.String()
	switch v := other.out.Verdict; {
	case v == Silent:
		w.prt, w.out = e, other.out
		w.fact("Does another PRT have what it lacks?", claims.Yes, detail)
	case v == Asked && w.out.Verdict == Refused && w.prt.Session.DeviceCode == claims.Yes && e.Session.DeviceCode != claims.Yes: // what would help outweighs what does not
		w.prt, w.out = e, other.out
		w.fact("Does another PRT have what it lacks?", claims.No, detail+": the user has to do something")
	case v == Unknown && w.out.Verdict != Unknown:
		w.fact("Does another PRT have what it lacks?", claims.Unknown, detail)
		w.decide(v, other.out.Because)
	}
	return other.stale()
}

// judge evaluates the policies for one PRT, under every value that the unknown
// facts could have.
func (w *chain) judge(set *policy.Set, id string) {
	in := w.signIn(id)
	w.explain(set, in)
	if missing := w.unknowns(set, in); missing != "" {
		w.decide(Unknown, missing)
		return
	}
	w.verdict(set.Evaluate(in))
}

// observed adds what the service said last to a reason.
func (w *chain) observed(because string) string {
	d := w.out.Last
	if d == nil {
		return because + ", and the service was not asked about this app yet"
	}
	s := because + "; the last request, " + stamp(d.Time) + ", " + ending(d.Outcome)
	if d.Code != 0 {
		s += " (AADSTS" + strconv.Itoa(d.Code) + ")"
	}
	return s
}

// ending says how a request ended.
func ending(o Outcome) string {
	switch o {
	case OutcomeSilent:
		return "needed no prompt"
	case OutcomeAsked:
		return "needed a prompt"
	case OutcomeRefused:
		return "was refused"
	}
	return "failed"
}

// signIn puts together what is known.
func (w *chain) signIn(resourceID string) *policy.SignIn {
	f, e := &w.Facts, w.prt.Session.Evidence
	in := &policy.SignIn{
		User:          &policy.User{ID: w.Account.LocalID},
		AppID:         resourceID,
		Scopes:        policy.ScopesOf(w.Scopes),
		Bound:         true, // requests through a PRT are signed with its session key
		ClientApp:     policy.ClientMobileOrDesktop,
		Platform:      f.Platform,
		IP:            f.IP,
		Country:       f.Country,
		Device:        w.policyDevice(),
		Methods:       e.Methods &^ (claims.MarkFreshMFA | claims.MarkRSA),
		AcceptedTerms: f.AcceptedTerms,
		Now:           w.Now,
		AuthTime:      e.AuthTime,
		MFATime:       e.At,
	}
	if f.User != nil {
		u := *f.User
		if u.ID == "" {
			u.ID = in.User.ID
		}
		in.User = &u
	}
	if in.Platform == policy.PlatformUnknown {
		in.Platform = platformOf(w.UserAgent)
	}
	if f.Methods != 0 {
		in.Methods = f.Methods
	}
	if e.MFA == claims.Yes {
		in.Methods |= claims.MarkMFA
	}
	if w.prt.Session.DeviceCode == claims.Yes {
		in.Flow = policy.TransferDeviceCode
	}
	if f.SignInRisk != nil {
		in.SignInRisk = *f.SignInRisk
	}
	if f.UserRisk != nil {
		in.UserRisk = *f.UserRisk
	}
	return in
}

func (w *chain) policyDevice() *policy.Device {
	d := w.Device
	if d == nil {
		return w.Facts.Device
	}
	out := policy.Device{
		ID:              d.ID,
		DisplayName:     d.DisplayName,
		OperatingSystem: d.OperatingSystem, OperatingSystemVersion: d.OSVersion,
		TrustType: policy.TrustJoined,
	}
	switch d.JoinType {
	case prt.JoinPersonal:
		out.TrustType = policy.TrustRegistered
	case prt.JoinHybrid:
		out.TrustType = policy.TrustHybrid
	}
	if w.Facts.Device != nil {
		out = *w.Facts.Device
	}
	if w.Facts.Compliant != claims.Unknown {
		out.Compliant = w.Facts.Compliant
	}
	return &out
}

// platformOf reads a User-Agent as Conditional Access does.
func platformOf(userAgent string) policy.Platform {
	ua := strings.ToLower(userAgent)
	for _, p := range []struct {
		mark     string
		platform policy.Platform
	}{
		{"windows phone", policy.PlatformWindowsPhone}, {"android", policy.PlatformAndroid}, {"iphone", policy.PlatformIOS}, {"ipad", policy.PlatformIOS},
		{"windows", policy.PlatformWindows}, {"mac os", policy.PlatformMacOS}, {"macintosh", policy.PlatformMacOS}, {"cros", policy.PlatformUnknown},
		{"linux", policy.PlatformLinux},
	} {
		if strings.Contains(ua, p.mark) {
			return p.platform
		}
	}
	return policy.PlatformUnknown
}

// explain lists the policies that apply as far as is known.
func (w *chain) explain(set *policy.Set, in *policy.SignIn) {
	for _, p := range set.Explain(in).Policies {
		if !p.Applies || p.Policy.State == policy.StateDisabled {
			continue
		}
		out := Policy{ID: p.Policy.ID, Name: p.Policy.DisplayName, ReportOnly: p.Policy.State == policy.StateReportOnly}
		for _, g := range p.Grants {
			out.Asks = append(out.Asks, controlName(g.Control))
			if !g.Satisfied {
				out.Missing = append(out.Missing, controlName(g.Control))
			}
		}
		w.out.Policies = append(w.out.Policies, out)
	}
}

// verdict turns the decision of the policies into the answer.
func (w *chain) verdict(d policy.Decision) {
	w.out.Decision = d
	asks := controls(d.Prompt())
	switch v := category(&d); {
	case v == Silent:
		w.decide(v, w.granted(&d))
	case d.Outcome == policy.OutcomeInterrupt && v == Asked:
		w.decide(v, "policy "+policyNames(&d)+" asks for "+asks+", and the PRT does not have it")
	case d.Outcome == policy.OutcomeInterrupt:
		w.decide(v, "policy "+policyNames(&d)+" asks for "+asks+", which the user cannot provide")
	case d.Reason == policy.Unsatisfiable:
		w.decide(v, "policy "+policyNames(&d)+" asks for "+controls(d.Missing())+", which this sign-in cannot have")
	case d.Outcome == policy.OutcomeBlock:
		w.decide(v, "policy "+policyNames(&d)+" blocks")
	default:
		w.decide(Unknown, "the policies could not be evaluated")
	}
}

func controls(list iter.Seq[policy.Control]) string {
	var names []string
	for c := range list {
		names = append(names, controlName(c))
	}
	return strings.Join(names, " and ")
}

// granted says why the policies that apply ask for nothing more.
func (w *chain) granted(d *policy.Decision) string {
	if d.Applied == 0 {
		return "no policy applies to this app"
	}
	e := w.prt.Session.Evidence
	if e.MFA == claims.Yes {
		s := "the PRT carries the MFA claim"
		if !e.At.IsZero() {
			s += ", earned " + stamp(e.At)
		}
		if w.prt.Credential == prt.ByHello && w.Account.Hello != nil && w.Account.Hello.Software {
			s += " by a software key, whose PIN nothing protects"
		}
		return s + ", and satisfies policy " + policyNames(d)
	}
	return "policy " + policyNames(d) + " is satisfied"
}

// userCan reports whether a prompt can satisfy the control, so that the service
// asks the user, rather than for another state of the device or the app.
func userCan(k policy.ControlKind) bool {
	switch k {
	case policy.CompliantDevice, policy.HybridJoinedDevice, policy.ApprovedApplication:
		return false
	}
	return true
}

func policyNames(d *policy.Decision) string {
	var names []string
	for p := range d.Policies() {
		name := p.DisplayName
		if name == "" {
			name = p.ID
		}
		names = append(names, "“"+name+"”")
	}
	if d.Deciding > len(names) {
		names = append(names, "others")
	}
	return strings.Join(slices.Compact(names), ", ")
}
