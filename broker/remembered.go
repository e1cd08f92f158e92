package broker

import (
	"errors"
	"slices"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/remember"
	"github.com/prtbroker/prtbroker/internal/aadsts"
)

// refusals remembers the answers of the service to silent requests that it does
// not serve without the user, so that a caller that asks in a loop costs it
// nothing.
type refusals struct {
	answers remember.Answers[account.Generation, *Error]
}

// before returns what the service said moments ago to the same request about
// the same PRTs. It returns nil when the service is to be asked; the caller
// then tells heard what it said.
func (r *refusals) before(a *account.Account, q *tokenRequest, now func() time.Time) (heard func(error), said error) {
	same, before := q.same(a), generation(a)
	if q.claims == "" && !q.forceRefresh && !q.anew {
		if e, ok := r.answers.Get(same, before, now()); ok {
			again := *e
			again.Remembered = true
			return nil, &again
		}
	} else {
		r.answers.Forget(same)
	}
	return func(err error) {
		var e *Error
		// With another generation the answer may not be about the current PRTs.
		if q.claims == "" && before != (account.Generation{}) && generation(a) == before && errors.As(err, &e) && memorable(e) {
			r.answers.Keep(same, before, now(), e)
		}
	}, nil
}

// generation is that of the account's PRTs as this process knows them.
func generation(a *account.Account) account.Generation {
	if rec := a.Record(); rec != nil {
		return rec.Generation()
	}
	return account.Generation{}
}

// same is the key of the request without the options that send it regardless.
func (q *tokenRequest) same(a *account.Account) string {
	plain := *q
	plain.forceRefresh, plain.anew, plain.claims = false, false, ""
	return plain.flight(a)
}

// mendedElsewhere are codes whose cause somebody else may fix at any moment: a
// management service, an administrator, or whoever sets the clock.
var mendedElsewhere = []int{
	50097,        // device authentication
	50155,        // the device was not accepted
	53000, 53001, // a compliant or hybrid joined device
	65001,                // consent
	50006, 50013, 900384, // a signature, or the clock
}

// memorable reports whether an error is the service's own statement that the
// user is needed, which only a sign-in changes.
func memorable(e *Error) bool {
	if e.action == aadsts.None || !errors.Is(e, ErrInteractionRequired) || isConsent(e) {
		return false
	}
	return !slices.ContainsFunc(append(slices.Clone(e.Codes), e.Code), func(code int) bool { return slices.Contains(mendedElsewhere, code) })
}
