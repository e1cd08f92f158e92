// Package verify checks what clients send to the emulator: signed requests,
// certificate requests, key blobs, Hello assertions, WebAuthn assertions. It
// reads the wire with structs of its own and shares nothing with the client
// but the key derivation, so that the two sides cannot agree on a mistake.
//
// Functions return errors that say precisely what is wrong, for the log of the
// test that made the mistake.
package verify
