// Package access decides which requests the emulator grants: which client may use
// which redirect, resource and scope, and with whose consent. It also asks
// Conditional Access and turns its refusals into AADSTS errors.
package access

import (
	"net/http"
	"net/netip"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/policy"
)

// Engine checks what clients and users may request, and asks Conditional Access.
type Engine struct {
	Keeper *session.Keeper

	// Judge decides in place of package policy's engine; nil: the engine.
	Judge func(*policy.Bundle, *policy.SignIn) Judgement
	// Address returns the address that a request comes from and its country; nil:
	// the address of the connection, with an unknown country.
	Address func(*http.Request) (netip.Addr, string)
}

// Judgement is the decision of Judge. Deciding and Results refer to the policies of the
// bundle by their indices.
type Judgement struct {
	Outcome  policy.Outcome
	Reason   policy.Reason
	Controls []policy.Control
	Deciding []int
	Results  []policy.Result
}
