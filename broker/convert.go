package broker

import "github.com/prtbroker/prtbroker/broker/internal/account"

// What lies below has records of its own. Structs of equal fields convert by
// themselves; the others are mapped here, once.

func decisions(all []account.Observation) (out []Decision) {
	for _, o := range all {
		out = append(out, Decision{
			Time: o.Time, ClientID: o.ClientID, Resource: o.Resource, Outcome: Outcome(o.Outcome), Code: o.Code, Verdict: Verdict(o.Verdict), Claims: o.Claims,
			Credential: o.Credential, MFA: o.MFA, MFAOn: o.MFAOn, CorrelationID: o.CorrelationID,
		})
	}
	return out
}
