// Package tokenendpoint is the token endpoint of the emulator and what goes with it:
// the grants, Primary Refresh Tokens (MS-OAPXBC), device codes, bulk tokens, and the
// credentials that are proved by a key or an assertion.
package tokenendpoint

import (
	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// Service is the token endpoint.
type Service struct {
	Keeper *session.Keeper
	Access *access.Engine
	Mint   *mint.Mint
	Web    *web.Router
	PRTs   *PRTList

	InheritDeviceMFA bool // the MFA of a registration seeps into the first PRT of the owner
	RollSessionKey   bool // every renewal brings a new session key
	RollDropsMFA     bool // a new session key takes the MFA from a PRT of a password
	RefuseKDFv1      bool // the first derivation is refused
}
