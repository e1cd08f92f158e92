// Package session holds sign-ins of the emulator: under way (a [Flow], which
// travels from page to page), alive (a [Session], which travels inside every token
// born of it), and what waits for somebody meanwhile: device codes, and prompts on
// a user's phone. It checks passwords, access passes, one-time codes and nonces,
// and knows nothing of HTTP.
package session

import (
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/seal"
)

// Keeper begins sign-ins and keeps what belongs to them. It holds what all
// services of a tenant share.
type Keeper struct {
	Directory *directory.Directory
	Rand      *ids.Source
	Now       func() time.Time
	Logf      func(format string, args ...any) // what reaches the phones of users
	TTL       TTL
	Box       *seal.Box // seals tokens, codes and nonces
	Pending   *Pending  // what waits, and what was used up

	RefuseTOTPReuse bool
}

// TTL holds lifetimes, which are documented with the emulator's own.
type TTL struct {
	Nonce, Code, DeviceCode, AccessToken, RefreshToken time.Duration
	PRT, PRTMax, SessionKey                            time.Duration
	FreshMFA, TAP, Prompt, Disable, Message            time.Duration
}
