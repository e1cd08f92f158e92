// Package fido signs in with a FIDO2 security key that is plugged into this
// computer: [Key] is the Authenticator of package webflow. It speaks CTAP2 over USB
// HID, on Linux by /dev/hidraw, without cgo, libfido2 or a daemon.
//
//	key := &fido.Key{Prompter: fido.Text(terminal)} // a *terminal.Prompter
//	pages := &webflow.Pages{Options: options, Asker: terminal, Key: key}
//	broker.WebFlow{Pages: pages}
//
// The user is verified: by the key itself where it can (a fingerprint), or else by
// its PIN, which the caller asks for. A PIN goes to the key encrypted, is overwritten
// after that, and is in no error. Each wrong PIN costs one of the key's tries (8 on
// most keys), so it is never sent twice.
//
// Where several keys are plugged in, the one that holds a credential of the user is
// used; where that does not decide, the user touches one.
//
// # Access
//
// Whoever opens /dev/hidraw* needs permission. systemd grants it to whoever sits at
// the computer (since v244, by udev's fido_id); a login manager runs as root. Only
// one program uses a key at a time: while another does, this one waits, within its
// context.
//
// # Tests
//
// Package [github.com/prtbroker/prtbroker/broker/webflow/fido/fidotest] is a security
// key in memory, for [Key].Devices.
//
// # Why this is our own code
//
// A well-kept library would be better. Those that were looked at in November 2026:
// github.com/go-authn/fido (BSD-3-Clause, first published in September 2026, six
// minor versions in five weeks) and github.com/telesma-app/ctap, once
// github.com/go-ctap/ctap (Apache-2.0, 48 minor versions, each of which may change
// its API; it began on top of a cgo HID library) were not to be had from the Go
// module proxy that this was built with, so that neither could be measured;
// github.com/keys-pub/go-libfido2 is cgo over libfido2 and was last published in
// 2022; github.com/flynn/u2f speaks the older U2F alone. A sign-in needs four
// commands of CTAP2, which are about 700 lines here, with CBOR by
// github.com/fxamacker/cbor/v2 (MIT, no dependency but float16, releases all year).
// The seam is [webflow.Authenticator]: who prefers another library implements that.
package fido
