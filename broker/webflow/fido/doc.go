// Package fido signs in with a FIDO2 security key that is plugged into this computer.
// [Key] is a [webflow.Authenticator]. It speaks CTAP2 over USB HID, on Linux through
// /dev/hidraw, without cgo, libfido2 or a daemon.
//
//	p := new(terminal.Prompter)
//	pages := &webflow.Pages{Asker: p, Key: &fido.Key{Prompter: fido.Text(p)}}
//	cred := broker.WebFlow{LoginHint: "kim@contoso.example", MFA: true, Pages: pages}
//
// The user is always verified: by the key itself if it can (with a fingerprint), or
// else by its PIN, which Key.Prompter asks for. A PIN is sent to the key encrypted, is
// overwritten afterwards, and never appears in an error. Each wrong PIN uses up one of
// the key's tries (8 on most keys), so it is never sent twice.
//
// If several keys are plugged in, the one that holds a credential of the user is used.
// If that is not decisive, the user touches one.
//
// # Access
//
// Opening /dev/hidraw* needs permission. systemd grants it to the user who sits at the
// computer (since v244, through udev's fido_id), and a login manager runs as root. One
// program uses a key at a time: while another one does, this package waits for as long
// as the context allows.
//
// On other systems [USB] returns an errors.ErrUnsupported. Set [Key].Devices to a
// transport of your own, or implement [webflow.Authenticator] with what the system
// offers.
//
// # Tests
//
// Package [github.com/prtbroker/prtbroker/broker/webflow/fido/fidotest] is an in-memory
// security key, for [Key].Devices.
//
// # Why this is our own code
//
// A well-maintained library would be better. These were looked at in November 2026:
//
//   - github.com/go-authn/fido: BSD-3-Clause, pure Go, published in September 2026,
//     with six minor versions in its first five weeks.
//   - github.com/telesma-app/ctap: Apache-2.0, at minor version 48; its README says
//     that minor releases may break its API.
//   - github.com/go-ctap/ctap: Apache-2.0, moving off a HID library that needs cgo.
//   - github.com/keys-pub/go-libfido2: cgo over libfido2, last published in 2022.
//
// The first three could not be downloaded when this was written, so their code was not
// evaluated.
//
// A sign-in needs five commands of CTAP2. They are about 1,400 lines here, with CBOR
// from github.com/fxamacker/cbor/v2 (MIT, one dependency, released all year). They are
// tested with vectors from Yubico and Mozilla, with Yubico's python-fido2, and against
// the FIDO application of the Nitrokey 3 and Solo 2 (internal/interop); no physical key
// was available. If you prefer another library, implement [webflow.Authenticator] with
// it.
package fido
