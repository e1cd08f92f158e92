package broker

import (
	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/why"
)

// The packages below have record types of their own. Structs with equal fields
// are converted directly; the others are mapped here, in one place.

func observations(all []account.Observation) (out []why.Observation) {
	for _, o := range all {
		out = append(out, why.Observation{
			Time: o.Time, ClientID: o.ClientID, Resource: o.Resource, Outcome: why.Outcome(o.Outcome), Code: o.Code, Verdict: o.Verdict, Claims: o.Claims,
			Credential: o.Credential, MFA: o.MFA, MFAOn: o.MFAOn, CorrelationID: o.CorrelationID,
		})
	}
	return out
}
