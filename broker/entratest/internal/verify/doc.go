// Package verify checks what clients send to the emulator: signed requests,
// certificate requests, key blobs, Hello assertions, WebAuthn assertions. It
// decodes messages with its own structs and shares only the key derivation with
// the client, so that a mistake on one side is not repeated on the other.
//
// Functions return errors that say precisely what is wrong, for the log of the
// test whose client made the mistake.
package verify
