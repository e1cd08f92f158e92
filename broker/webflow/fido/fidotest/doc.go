// Package fidotest is an in-memory FIDO2 security key, for tests of programs that
// sign in with one: a CTAP 2.0 or 2.1 authenticator behind USB HID reports, with a
// PIN and a retry counter, touches, and credentials on P-256. It shares no code with
// the client that it tests.
//
//	virtual := fidotest.New(fidotest.Options{PIN: "1234"})
//	virtual.Add(fidotest.Credential{RelyingParty: "login.microsoft.com", ID: []byte("of kim"), Key: key})
//	security := &fido.Key{Prompter: prompter, Devices: fidotest.Devices(virtual)}
package fidotest
