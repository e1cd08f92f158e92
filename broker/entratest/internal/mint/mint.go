// Package mint holds the keys of the emulator and issues what they sign: tokens and
// the certificates of devices and users. It also encrypts replies, and finds the user
// of a bearer token and the device of a certificate.
package mint

import (
	"crypto/rsa"
	"net/netip"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
)

// Mint issues tokens and certificates, and reads those that it issued.
type Mint struct {
	Keys   *Keys
	Keeper *session.Keeper

	// World marks tokens and user certificates, so that those from before a reset of the
	// server are refused although its keys and its users are the same. Nil: no mark.
	World []byte

	GCMReplies, PlainReplies bool // how to encrypt replies to requests signed with a session key
	DisabledDevice50155      bool // a disabled device gets the same error as a deleted one
}

// Issuance holds the contents of tokens.
type Issuance struct {
	Client   *directory.App
	User     *directory.User
	Session  *session.Session
	Resource *directory.App // nil: the request is for no access token
	Audience string         // as the client named the resource
	Scopes   []string
	V2       bool
	CAE      bool           // the client handles claims challenges
	Contexts []string       // authentication contexts that were satisfied
	Address  netip.Addr     // of the client; invalid: unknown
	Nonce    string         // for the id_token
	Code     string         // code whose hash the id_token carries; "": no code
	Aged     bool           // the request has max_age: the id_token says when the user signed in
	CNF      string         // kid of the key of a PoP token; "" for a bearer token
	SSH      *rsa.PublicKey // key for an SSH certificate requested in place of an access token; nil: not requested
	Fresh    bool           // the request asks for the value ngcmfa
	IDNone   bool           // the id_token is unsigned
	SID      bool           // the id_token names the user's SID (scope ugs)
	Email    bool           // the id_token names the user's e-mail address, if there is one (scope email)
	InURL    bool           // the id_token travels in a URL, which bounds its length
	Now      time.Time
	Base     string // URL of the issuing service; "": its real host names
	Unique   string // claim uti of the tokens; "": random ones
}
