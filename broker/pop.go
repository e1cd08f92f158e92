package broker

import "encoding/json"

// A PoP is an HTTP request that a bound token is for. The result's
// AccessToken then is a signed HTTP request (SHR,
// draft-ietf-oauth-signed-http-request-03) that holds the token, for the
// header "Authorization: PoP …": the API can tell that who sends it holds the
// key, which never leaves the key store. Each signed request costs one
// signature of the key store; the token inside is cached like others.
type PoP struct {
	// Method is the method of the request. Empty: not bound.
	Method string
	// URL is the address of the request, absolute. Empty: not bound.
	URL string
	// Nonce is what the API asked for in its challenge. Empty: none.
	Nonce string
	// Claims are further claims of the client, JSON. Nil: none.
	Claims json.RawMessage
	// KeyID binds the token to a key of the caller's own instead: its
	// thumbprint (RFC 7638), base64url. The result's AccessToken then is the
	// bare token, which the caller puts into a request that its key signs, and
	// the fields above must be empty. Empty: the key of this device.
	KeyID string
}
