package entratest

import (
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
)

// proofsOf is how the pages' configuration lists second factors.
func proofsOf(u *directory.User, fl *session.Flow) []map[string]any {
	out := []map[string]any{}
	for i, f := range session.SecondFactors(u, fl) {
		display := f.Label
		if f.ID == session.MethodSMS || f.ID == session.MethodVoice {
			display = session.Masked(u.Phone)
		}
		out = append(out, map[string]any{"authMethodId": f.ID, "data": f.ID, "display": display, "isDefault": i == 0})
	}
	return out
}
