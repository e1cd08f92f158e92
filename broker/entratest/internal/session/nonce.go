package session

import (
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// nonceRecord is the content of a nonce. As with the real service, a nonce is not
// bound to a client or user and may be reused until it expires.
type nonceRecord struct {
	Expires int64  `json:"e"`
	Salt    []byte `json:"s"`
}

// NewNonce makes a nonce.
func (k *Keeper) NewNonce() string {
	return k.Box.Seal(kindNonce, nonceRecord{Expires: k.Now().Add(k.TTL.Nonce).Unix(), Salt: k.Rand.Bytes(16)})
}

// CheckNonce refuses a nonce that this server did not issue or that expired.
func (k *Keeper) CheckNonce(nonce string) *web.STSError {
	e := web.InvalidGrant(140000, "Request nonce is not provided or has expired.")
	if nonce == "" {
		return e.Because("claim request_nonce is missing")
	}
	var n nonceRecord
	if err := k.Box.Open(kindNonce, nonce, &n); err != nil {
		return e.Because("claim request_nonce was not issued by this server")
	}
	if k.Now().Unix() > n.Expires {
		return e.Because("the nonce expired %s ago", k.Now().Sub(time.Unix(n.Expires, 0)))
	}
	return nil
}
