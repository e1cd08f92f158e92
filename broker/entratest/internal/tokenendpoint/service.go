// Package tokenendpoint implements the token endpoint of the emulator: the grants,
// Primary Refresh Tokens (MS-OAPXBC), device codes, bulk tokens, and credentials
// proved with a key or an assertion.
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

	InheritDeviceMFA bool // the MFA of a registration carries over to the first PRT of the owner
	RollSessionKey   bool // every renewal brings a new session key
	RollDropsMFA     bool // a new session key drops the MFA from a password-based PRT
	RefuseKDFv1      bool // version 1 of the key derivation is refused
}
