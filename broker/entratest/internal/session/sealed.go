package session

import "github.com/prtbroker/prtbroker/broker/entratest/internal/seal"

// CodeRecord is what an authorization code holds.
type CodeRecord struct {
	ID        string  `json:"k"` // for the check of single use
	Session   Session `json:"s"`
	Client    string  `json:"c"`
	Redirect  string  `json:"r"`
	Challenge string  `json:"h,omitempty"`
	Method    string  `json:"m,omitempty"`
	Resource  string  `json:"v,omitempty"` // of a v1 request
	Scope     string  `json:"o,omitempty"`
	Nonce     string  `json:"n,omitempty"`
	Fresh     bool    `json:"f,omitempty"` // ngcmfa was asked for
	Key       []byte  `json:"q,omitempty"` // session key, when the sign-in was by PRT cookie
	Claims    string  `json:"a,omitempty"`
	Aged      bool    `json:"g,omitempty"` // max_age was asked for
	Expires   int64   `json:"e"`
}

// Kinds of sealed tokens. The texts are the prefixes that real ones have.
const (
	KindRefresh seal.Kind = "1.AXoA"
	KindPRT     seal.Kind = "0.AXoA"
	KindCode    seal.Kind = "0.AQwA"
	kindNonce   seal.Kind = "AwABEgEAAAACAOz_"
	kindContext seal.Kind = "rQQIAR"
	KindFlow    seal.Kind = "AQABEgE"
	KindBulk    seal.Kind = "0.AXkA"
	KindCookie  seal.Kind = "0.AXsA"
	KindReuse   seal.Kind = "AUQAu" // the claim aio, by which a service asks on behalf of the user

	KindDesktopSSO seal.Kind = "DSSO."
)
