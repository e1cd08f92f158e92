package why

import (
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/prt"
)

// Explain says whether the user will be asked, and because of what.
//
// The answer is Silent, Asked or Refused only when it follows from the snapshot.
// Where a fact that a policy looks at is not known, and its possible values lead
// to different answers, the answer is Unknown and names the fact.
func Explain(s Snapshot) Explanation {
	w := &chain{Snapshot: s, out: Explanation{ClientID: s.ClientID, Resource: s.Resource}}
	w.run()
	return w.out
}

// chain follows the chain of facts until a link decides.
type chain struct {
	Snapshot
	out Explanation
	prt *PRT // the one that is judged
}

func (w *chain) fact(question string, a claims.Answer, detail string) {
	w.out.Chain = append(w.out.Chain, Fact{question, a, detail})
}

func (w *chain) decide(v Verdict, because string) { w.out.Verdict, w.out.Because = v, because }

func answer(yes bool) claims.Answer {
	if yes {
		return claims.Yes
	}
	return claims.No
}

func (w *chain) run() {
	w.device()
	if w.Device == nil && !w.Unbound {
		w.decide(Asked, "the device is not registered, so that there is no PRT")
		return
	}
	a := w.Account
	if a == nil {
		w.fact("Is the user signed in here?", claims.No, "")
		w.decide(Asked, "nobody is signed in, or not this account")
		return
	}
	w.out.Account, w.out.Username, w.out.Last = a.ID, a.Username, a.Last
	w.fact("Is the user signed in here?", claims.Yes, a.Username)
	w.hello(a.Hello)
	if w.Device == nil {
		if !w.inMemory(a) {
			w.decide(Unknown, w.observed("without a registration the app's refresh token decides, and what it carries is not known here"))
		}
		return
	}
	decided := w.pickPRT(a)
	if w.inMemory(a) || decided {
		return
	}
	w.policies(a.PRTs)
}

// device says whether there is a registration with a valid certificate and
// usable keys.
func (w *chain) device() {
	d := w.Device
	if d == nil {
		w.fact("Is the device registered?", claims.No, "")
		return
	}
	w.fact("Is the device registered?", claims.Yes, d.ID+", "+d.JoinType.String())
	valid := !w.Now.Before(d.NotBefore) && w.Now.Before(d.NotAfter)
	w.fact("Is its certificate valid?", answer(valid), "until "+d.NotAfter.UTC().Format(time.DateOnly))
	w.fact("Does a TPM hold its keys?", answer(d.Hardware), d.KeyStore)
}

// hello says whether there is a Hello key, and what its PIN is worth.
func (w *chain) hello(h *Hello) {
	switch {
	case h == nil:
		w.fact("Is there a Hello key?", claims.No, "")
	case h.Software:
		w.fact("Is there a Hello key?", claims.Yes, "in software: Entra accepts it as MFA, but nothing counts wrong PINs")
	default:
		w.fact("Is there a Hello key?", claims.Yes, "in the TPM, which counts wrong PINs")
	}
}

// pickPRT takes the PRT that would be used.
func (w *chain) pickPRT(a *Account) (decided bool) {
	if len(a.PRTs) == 0 {
		w.fact("Is there a PRT?", claims.No, "")
		switch {
		case a.Locked:
			w.decide(Asked, "the account is locked, and its PIN opens it")
		case a.Over != "":
			w.decide(Asked, "the PRT is no longer valid: "+a.Over)
		default:
			w.decide(Asked, "there is no PRT")
		}
		return true
	}
	w.prt = &a.PRTs[0]
	p, e := w.prt, w.prt.Session.Evidence
	w.fact("Is there a PRT?", claims.Yes, "from "+string(p.Credential)+", "+p.State.String()+", renewed "+stamp(p.RenewedOn)+", expires "+stamp(p.ExpiresOn))
	w.fact("Is there a session key for it?", answer(p.HasSessionKey), "")
	detail := e.Methods.String()
	if !e.At.IsZero() {
		detail += ", " + stamp(e.At)
	}
	w.fact("Does it carry the MFA claim?", e.MFA, strings.Trim(detail, ", "))
	if p.State == prt.Expired {
		w.decide(Unknown, "the PRT was not used for too long and looks expired by the clock here: the service has the last word")
		return true
	}
	return false
}

// inMemory asks whether a token is there that is handed out without asking
// the service.
func (w *chain) inMemory(a *Account) (decided bool) {
	if a.TokenUntil.IsZero() {
		w.fact("Is a token in memory?", claims.No, "")
		return false
	}
	until := stamp(a.TokenUntil)
	w.fact("Is a token in memory?", claims.Yes, "until "+until)
	w.decide(Silent, "a token in memory is valid until "+until+", and the service is not asked")
	return true
}
