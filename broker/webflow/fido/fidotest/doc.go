// Package fidotest is a FIDO2 security key in memory, for tests of programs that
// sign in with one: an authenticator of CTAP 2.0 or 2.1 behind USB HID reports, with
// a PIN that counts its tries, touches, and credentials on P-256. It shares no code
// with the client that it tests.
package fidotest
