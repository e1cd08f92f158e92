// Package prt speaks the Primary Refresh Token protocol of Entra ID, client
// side: it turns intentions into signed requests and replies into facts. It
// does no I/O, reads no clock and holds no state; its caller posts what it
// builds and hands it what came back.
//
// A device signs for its PRT with its device key ([PRTRequest]); the service
// answers with the PRT and a session key that only the device's transport key
// unwraps ([ParseIssuance]). From then on every request is signed by a key
// derived from the session key ([RenewRequest], [ExchangeRequest],
// [CookieRequest]) and replies are encrypted under another ([ParseReply]).
// Keys are interfaces, so that a TPM derives and signs and the session key
// never enters this package.
//
// The protocol is MS-OAPXBC with the extensions that Entra has over it. Its
// JWTs look like JOSE and deviate: x5c is a bare string, the signature key
// depends on the payload bytes (KDF version 2), replies name A256GCM and hold
// AES-CBC, and session_key_jwe has a body that authenticates nothing. That is
// why JWS and JWE are done by hand here.
package prt
