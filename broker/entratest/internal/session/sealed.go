package session

import "github.com/prtbroker/prtbroker/broker/entratest/internal/seal"

// CodeRecord is the content of an authorization code.
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
	Fresh     bool    `json:"f,omitempty"` // the request asked for ngcmfa
	Key       []byte  `json:"q,omitempty"` // session key, if a PRT cookie signed the user in
	Claims    string  `json:"a,omitempty"`
	Aged      bool    `json:"g,omitempty"` // the request had max_age
	Expires   int64   `json:"e"`
}

// Kinds of sealed tokens. The values are the prefixes of real tokens.
const (
	KindRefresh seal.Kind = "1.AXoA"
	KindPRT     seal.Kind = "0.AXoA"
	KindCode    seal.Kind = "0.AQwA"
	kindNonce   seal.Kind = "AwABEgEAAAACAOz_"
	kindContext seal.Kind = "rQQIAR"
	KindFlow    seal.Kind = "AQABEgE"
	KindBulk    seal.Kind = "0.AXkA"
	KindCookie  seal.Kind = "0.AXsA"
	KindReuse   seal.Kind = "AUQAu" // the claim aio, with which a service acts on behalf of the user

	KindDesktopSSO seal.Kind = "DSSO."
)
