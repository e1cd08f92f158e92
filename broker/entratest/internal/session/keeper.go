// Package session holds the sign-ins of the emulator: those in progress (a [Flow],
// which travels from page to page), established ones (a [Session], which travels
// inside every token derived from it), and what waits for a user: device codes, and
// prompts on a user's phone. It checks passwords, access passes, one-time codes and
// nonces, and does not handle HTTP.
package session

import (
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/quirks"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/seal"
)

// Keeper starts sign-ins and keeps their state. It holds what all services of a
// tenant share.
type Keeper struct {
	Directory *directory.Directory
	Rand      *ids.Source
	Now       func() time.Time
	Logf      func(format string, args ...any) // reports what reaches the phones of users
	TTL       TTL
	Box       *seal.Box // seals tokens, codes and nonces
	Pending   *Pending  // what waits for users, and what was used up
	Quirks    *quirks.Set

	RefuseTOTPReuse bool
}

// TTL holds lifetimes, which are documented with the emulator's own.
type TTL struct {
	Nonce, Code, DeviceCode, AccessToken, RefreshToken time.Duration
	PRT, PRTMax, SessionKey                            time.Duration
	FreshMFA, TAP, Prompt, Disable, Message            time.Duration
}
