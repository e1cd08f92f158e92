// Package mint holds the keys of the emulator and what they sign: tokens, the
// certificates of devices and users, and encrypted replies. It also tells whose a
// bearer token or a device certificate is.
package mint

import (
	"crypto/rsa"
	"net/netip"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
)

// Mint makes tokens and certificates, and reads those that it made.
type Mint struct {
	Keys   Keys
	Keeper *session.Keeper

	GCMReplies, PlainReplies bool // how replies to requests that a session key signed are encrypted
	DisabledDevice50155      bool // a disabled device is told what a deleted one is
}

// Issuance is what tokens are made of.
type Issuance struct {
	Client   *directory.App
	User     *directory.User
	Session  *session.Session
	Resource *directory.App // nil: no access token is asked for
	Audience string         // as the client named the resource
	Scopes   []string
	V2       bool
	CAE      bool           // the client handles claims challenges
	Contexts []string       // authentication contexts that were met
	Address  netip.Addr     // of the client; invalid: unknown
	Nonce    string         // for the id_token
	Code     string         // whose hash the id_token beside it carries; "": none
	Aged     bool           // max_age was asked for: the id_token says when the user signed in
	CNF      string         // kid of the key of a PoP token; "" for a bearer token
	SSH      *rsa.PublicKey // the key of the SSH certificate that is asked for in place of an access token; nil: none
	Fresh    bool           // the value ngcmfa was asked for
	IDNone   bool           // the id_token is unsigned
	SID      bool           // the id_token names the user's SID (scope ugs)
	Now      time.Time
	Base     string // where the service is that issues; "": at its real host names
}
