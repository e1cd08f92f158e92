// Package prt speaks the Primary Refresh Token protocol of Entra ID, client
// side: it turns intentions into signed requests and replies into facts. It
// does no I/O, reads no clock and holds no state; its caller posts what it
// builds and hands it what came back.
//
//	r := prt.ExchangeRequest{
//		PRT:      prt.NewSecret("0.PRT"),
//		Nonce:    "AwABnonce",
//		ClientID: "04b07795-8ddb-461a-bbee-02f9e1bf7b46",
//		Scopes:   []string{"https://graph.microsoft.com/.default"},
//	}
//	form, err := r.Sign(ctx, session) // post form.Values to form.Path
//
// A device signs for its PRT with its device key ([PRTRequest]); the service
// answers with the PRT and a session key that only the device's transport key
// unwraps ([ParseIssuance]). From then on every request is signed by a key
// derived from the session key ([RenewRequest], [ExchangeRequest],
// [CookieRequest]) and replies are encrypted under another ([ParseReply]).
// Keys are interfaces, so that a TPM derives and signs and the session key
// never enters this package. Before all of that, a device registers with
// [JoinRequest], and a user's Hello key with [HelloRegistration].
//
// The protocol is MS-OAPXBC with Entra's extensions. Its JWTs look like JOSE
// but deviate from it: the signature key depends on the payload bytes (KDF
// version 2), replies name A256GCM but hold AES-CBC, and session_key_jwe has a
// body that authenticates nothing. That is why this package implements JWS and
// JWE itself.
//
// # What a reply is trusted for
//
// Replies come over TLS, which vouches for them. A reply in AES-GCM is also
// authenticated by the session key; one in AES-CBC, which the v1 endpoint
// sends, is not, and a change of it can go unnoticed as long as the result is
// JSON without duplicate members. Every failure to decrypt is [ErrDecrypt],
// whatever the cause.
//
// # Where the services differ from the documents
//
// Where sources disagree, replies are read liberally: numbers may be strings,
// ctx may be base64 or base64url, tickets may be objects or strings that hold
// them, extensions of the device certificate may have DER's length or the long
// form that the service writes. Requests are sent as Windows sends them.
//
// Not supported yet: protocol version 4.0, PRTs without a device, PKeyAuth and
// the certificates of MS-OAPXBC 3.2.5.1.4. The renewal that Windows makes with
// the user's credential in addition to the PRT is not published; a new PRT by
// the credential has the same effect.
package prt
