// Package access says who may ask the emulator for what: which client for which
// redirect, resource and scope, with whose consent, and what Conditional Access
// makes of it, whose answer becomes an AADSTS error.
package access

import (
	"net/http"
	"net/netip"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/policy"
)

// Engine says who may ask for what, and asks Conditional Access.
type Engine struct {
	Keeper *session.Keeper

	// Judge decides in place of package policy's engine; nil: the engine.
	Judge func(*policy.Bundle, *policy.SignIn) Judgement
	// Address is where a request comes from; nil: the address of the
	// connection, in no known country.
	Address func(*http.Request) (netip.Addr, string)
}

// Judgement is what Judge says. Deciding and Results refer to the policies of the
// bundle by their indices.
type Judgement struct {
	Outcome  policy.Outcome
	Reason   policy.Reason
	Controls []policy.Control
	Deciding []int
	Results  []policy.Result
}
