package broker

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/policy"
)

// A WhyInput is the question why the user is, or is not, asked when an app
// wants a token. Facts that only the service knows are given in Facts; what is
// not given is not guessed.
type WhyInput struct {
	// Account is whose token; zero is the only one.
	Account Account
	// App is the client; zero is Config.App.
	App App
	// Scopes are those that the app asks for.
	Scopes []string
	// ResourceID is the application id by which policies know the resource of
	// Scopes. Empty: it is taken from Scopes when it is an application id
	// there, or when the resource is Graph.
	ResourceID string
	// Facts are what is known beside the state here.
	Facts Facts
}

// Facts are what Conditional Access looks at and the broker cannot know. A
// fact whose zero value says so is unknown.
type Facts struct {
	// User has the groups (transitive), role template ids and guest type of
	// the user. Nil: unknown. Its ID may be empty.
	User *policy.User
	// Compliant says whether the device management calls the device compliant.
	// Unknown is unknown; a device that was never reported is No.
	Compliant claims.Answer
	// Device has what rules on devices look at. Nil: what the registration
	// says, and such rules are then not judged.
	Device *policy.Device
	// IP and Country are where the service sees the request come from.
	IP      netip.Addr
	Country string
	// Platform is what the User-Agent names. Zero: that of Config.UserAgent.
	Platform policy.Platform
	// SignInRisk and UserRisk are levels of risk. Nil: unknown.
	SignInRisk, UserRisk *policy.RiskLevel
	// Methods are those by which the user authenticated for the strongest PRT,
	// which Status shows. Zero: what its amr says, which often names MFA and not
	// how it was done.
	Methods claims.Methods
	// AcceptedTerms are the ids of accepted terms of use. Nil: unknown.
	AcceptedTerms []string
}

// A WhyVerdict is the answer in a word.
type WhyVerdict string

// Answers.
const (
	WhySilent  WhyVerdict = "silent"  // a token without a prompt
	WhyAsked   WhyVerdict = "asked"   // the user has to do something
	WhyRefused WhyVerdict = "refused" // no token, whatever the user does
	WhyUnknown WhyVerdict = "unknown" // what decides is not known here
)

// An Explanation is why the user is, or is not, asked: the chain of facts that
// decides, as data, and by String as text that a help desk can read.
type Explanation struct {
	Verdict WhyVerdict `json:"verdict"`
	// Because completes the sentence "The user is asked, because …".
	Because  string  `json:"because"`
	Account  Account `json:"account"`
	ClientID string  `json:"clientId"`
	Resource string  `json:"resource"`
	// Chain has the facts in the order in which they decide.
	Chain []WhyFact `json:"chain"`
	// Policies are those of the tenant that apply, as far as they are known,
	// with those that report only.
	Policies []WhyPolicy `json:"policies,omitempty"`
	// Last is what the service last said about this app and resource; nil
	// when it was not asked.
	Last *Decision `json:"last,omitempty"`
	// Decision is that of the policies; its Outcome is Invalid when they were
	// not judged.
	Decision policy.Decision `json:"-"`
}

// A WhyFact is one link of the chain.
type WhyFact struct {
	Question string        `json:"question"`
	Answer   claims.Answer `json:"answer"`
	Detail   string        `json:"detail,omitempty"`
}

// A WhyPolicy is a policy that applies.
type WhyPolicy struct {
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	ReportOnly bool     `json:"reportOnly,omitempty"`
	Asks       []string `json:"asks,omitempty"`    // its controls
	Missing    []string `json:"missing,omitempty"` // those that the PRT does not satisfy
}

// Why says whether the user will be asked when an app wants a token, and
// because of what. It makes no request. It judges the policies that
// Config.Policies returns; without them the answer is Unknown, with what the
// service said last.
//
// The answer is Silent, Asked or Refused only when it follows from what is
// known. Where a fact that a policy looks at is not known, and its possible
// values lead to different answers, the answer is Unknown and names the fact.
func (b *Broker) Why(ctx context.Context, in WhyInput) (_ Explanation, err error) {
	const op = "why"
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return Explanation{}, err
	}
	defer leave(&err)
	if in.App.ClientID == "" {
		in.App = b.cfg.App
	}
	if in.App.ClientID == "" {
		return Explanation{}, errNoApp
	}
	resource, err := b.resource(in.Scopes)
	if err != nil {
		return Explanation{}, opError(op, err)
	}
	w := &whyChain{b: b, in: in, now: b.cfg.Now()}
	w.out.ClientID, w.out.Resource = in.App.ClientID, resource
	if err := w.run(ctx); err != nil {
		return Explanation{}, opError(op, err)
	}
	return w.out, nil
}

// Preflight is Why as the decision of the policies. Its Outcome is Invalid when
// the answer does not depend on them or is not known.
func (b *Broker) Preflight(ctx context.Context, in WhyInput) (policy.Decision, error) {
	e, err := b.Why(ctx, in)
	if err != nil || e.Verdict == WhyUnknown {
		return policy.Decision{}, err
	}
	return e.Decision, nil
}

// whyChain follows the chain until a link decides.
type whyChain struct {
	b   *Broker
	in  WhyInput
	now time.Time
	out Explanation
	prt *account.PRT // the one that is judged

	software bool // the Hello key
	unbound  bool // there is no registration, and none is needed
}

func (w *whyChain) fact(question string, a claims.Answer, detail string) {
	w.out.Chain = append(w.out.Chain, WhyFact{question, a, detail})
}

func (w *whyChain) decide(v WhyVerdict, because string) { w.out.Verdict, w.out.Because = v, because }

func answer(yes bool) claims.Answer {
	if yes {
		return claims.Yes
	}
	return claims.No
}

func (w *whyChain) run(ctx context.Context) error {
	if decided, err := w.device(ctx); decided || err != nil {
		return err
	}
	a, rec, err := w.b.accountFor(ctx, w.in.Account)
	if errors.Is(err, ErrNoAccount) {
		w.fact("Is the user signed in here?", claims.No, "")
		w.decide(WhyAsked, "nobody is signed in, or not this account")
		return nil
	}
	if err != nil {
		return err
	}
	w.out.Account = Account(rec.Account)
	w.fact("Is the user signed in here?", claims.Yes, rec.Account.PreferredUsername)
	w.hello(rec)
	if err := w.last(ctx, a); err != nil {
		return err
	}
	if w.unbound {
		if !w.inMemory(rec) {
			w.decide(WhyUnknown, w.observed("without a registration the app's refresh token decides, and what it carries is not known here"))
		}
		return nil
	}
	decided := w.pickPRT(rec)
	if w.inMemory(rec) || decided {
		return nil
	}
	w.policies(w.b.engine.Choices(rec))
	return nil
}

// device asks whether there is a registration with a valid certificate and
// usable keys.
func (w *whyChain) device(ctx context.Context) (decided bool, err error) {
	d, err := w.b.devices.Load(ctx)
	if errors.Is(err, device.ErrNone) {
		w.fact("Is the device registered?", claims.No, "")
		if w.unbound = w.b.cfg.AllowUnbound; w.unbound {
			return false, nil
		}
		w.decide(WhyAsked, "the device is not registered, so that there is no PRT")
		return true, nil
	}
	if err != nil {
		return false, err
	}
	w.fact("Is the device registered?", claims.Yes, d.Cert.DeviceID+", "+d.Record.JoinType.String())
	valid := !w.now.Before(d.Cert.NotBefore) && w.now.Before(d.Cert.NotAfter)
	w.fact("Is its certificate valid?", answer(valid), "until "+d.Cert.NotAfter.UTC().Format(time.DateOnly))
	info, err := w.b.cfg.Keys.Info(ctx)
	if err != nil {
		return false, keyError("why", err)
	}
	w.fact("Does a TPM hold its keys?", answer(info.Hardware), strings.TrimSpace(info.Backend+" "+aadsts.Clean(info.Manufacturer)))
	return false, nil
}

// last looks up what the service said about this app and resource.
func (w *whyChain) last(ctx context.Context, a *account.Account) error {
	all, err := a.Log(ctx)
	if err != nil && !errors.Is(err, ErrStateDamaged) {
		return err
	}
	for _, d := range decisions(all) {
		if d.ClientID == w.in.App.ClientID && d.Resource == w.out.Resource {
			w.out.Last = &d
		}
	}
	return nil
}

// hello says whether there is a Hello key, and what its PIN is worth.
func (w *whyChain) hello(rec *account.Record) {
	switch h := rec.Hello; {
	case h == nil:
		w.fact("Is there a Hello key?", claims.No, "")
	case h.Software:
		w.software = true
		w.fact("Is there a Hello key?", claims.Yes, "in software: MFA to Entra, not to you, for nothing counts wrong PINs")
	default:
		w.fact("Is there a Hello key?", claims.Yes, "in the TPM, which counts wrong PINs")
	}
}

// pickPRT takes the PRT that would be used.
func (w *whyChain) pickPRT(rec *account.Record) (decided bool) {
	alive := w.b.engine.Choices(rec)
	if len(alive) == 0 {
		w.fact("Is there a PRT?", claims.No, "")
		if rec.Locked() {
			w.decide(WhyAsked, "the account is locked, and its PIN opens it")
			return true
		}
		var why *Error
		if errors.As(obituary("", rec), &why) && why.Code != 0 {
			w.decide(WhyAsked, "the PRT is over: "+why.detail)
			return true
		}
		w.decide(WhyAsked, "there is no PRT")
		return true
	}
	w.prt = &alive[0]
	t := w.prt.Token
	s := prtStatusOf(*w.prt, Account(rec.Account), w.now)
	w.fact("Is there a PRT?", claims.Yes, "born of "+string(s.Credential)+", "+string(s.State)+", renewed "+stamp(s.RenewedOn)+", expires "+stamp(s.ExpiresOn))
	w.fact("Is there a session key for it?", answer(s.SessionKey), "")
	detail := t.Evidence.Methods.String()
	if !t.Evidence.At.IsZero() {
		detail += ", " + stamp(t.Evidence.At)
	}
	w.fact("Does it carry the MFA claim?", t.Evidence.MFA, strings.Trim(detail, ", "))
	if s.State == PRTExpired {
		w.decide(WhyUnknown, "the PRT was not used for too long and looks expired by the clock here: the service has the last word")
		return true
	}
	return false
}

// inMemory asks whether a token is there that is handed out without asking
// the service.
func (w *whyChain) inMemory(rec *account.Record) (decided bool) {
	r, ok := w.b.inMemory(&callOptions{account: Account(rec.Account), app: w.in.App}, w.in.Scopes, w.now)
	if !ok {
		w.fact("Is a token in memory?", claims.No, "")
		return false
	}
	w.fact("Is a token in memory?", claims.Yes, "until "+stamp(r.ExpiresOn))
	w.decide(WhySilent, "a token in memory is valid until "+stamp(r.ExpiresOn)+", and the service is not asked")
	return true
}

// resourceID returns the application id of the resource; empty when it is not
// known.
func (w *whyChain) resourceID() string {
	switch r := strings.ToLower(w.out.Resource); {
	case w.in.ResourceID != "":
		return w.in.ResourceID
	case r == "https://"+w.b.cloud().GraphHost, r == "https://"+w.b.cloud().GraphHost+"/":
		return wire.ResourceGraphApp
	case guidPattern.MatchString(strings.TrimPrefix(r, "api://")):
		return strings.TrimPrefix(r, "api://")
	}
	return ""
}
