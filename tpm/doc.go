// Package tpm holds keys that never leave the machine: the contract of a key
// store, and the store over a TPM 2.0.
//
// A [KeyStore] has three kinds of things. Asymmetric keys sign (device key,
// Hello key) or receive session keys (transport key). A session key, which
// binds a Primary Refresh Token to the device, is unwrapped inside the store
// and only gives out keys derived from it. Sealed data is small: the data keys
// under which a caller encrypts its state. Of all three the store hands out
// blobs, which are safe at rest and open only where they were made; it keeps no
// files.
//
//	keys, err := tpm.Open(ctx, tpm.Default(), tpm.Config{})
//	device, err := keys.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Sign})
//	transport, err := keys.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Unwrap})
//	session, err := keys.UnwrapSession(ctx, transport, wrapped)
//	key, err := session.Derive(ctx, label, context)
//
// [TPM.Check] says beforehand whether a TPM can do all of it, and names what it
// lacks.
//
// Package softkeys is the same contract in software. Nothing here falls back to
// it: an application decides, and [Info] says what it decided. Package tpmtest
// has software TPMs for tests and the suite that every KeyStore must pass.
//
// # What it costs
//
// On a hardware TPM commands cost 10 to 500 ms, so they are counted, in tests,
// at the transport. The session key and one authenticated session stay loaded
// for [Config.Idle] after use:
//
//	Derive                          1 command
//	two derivations from cold       4: session, load, two HMACs
//	Sign, Unseal                    3
//	Seal                            1
//	UnwrapSession                   4, and 2 when the session key is used first
//	ChangePIN                       3
//	SealPIN                         2; without a limit 1; 7 on a TPM without TPM2_GetTime
//	UnsealPIN                       6 and one for each bound; without a limit 6
//	ChangeSealPIN                   4; without a limit 3
//
// To these comes, once in [Config.Idle], one for the session, and one for the
// storage root key where that is a transient primary, which stays loaded as
// well. The first Seal or SealPIN of a store that has unsealed nothing makes the
// attestation key, two more.
//
// Behind Linux's /dev/tpmrm0 every command also swaps what its descriptor has
// loaded in and out, so that the session key has a descriptor to itself.
//
// # What it protects from
//
// Every command with a secret runs in an HMAC session salted to the storage
// root key, whose name is pinned in every blob and by [Config.SRKName], with the
// secret encrypted. So who taps or alters the bus learns nothing, and another
// TPM in the place of this one cannot take part: [ErrTPMChanged]. The session
// key is in this process once, between two commands, in buffers that are
// cleared. Only what has a PIN is subject to the TPM's dictionary-attack
// protection, because a power loss counts as a wrong try. SECURITY.md at the
// root of the repository has the threat model, each claim with its test.
//
// # PINs
//
// A key made with [KeySpec].PIN needs it at every open. It is a [PINKey]: its
// PIN can be changed, and the key, whose public part a service knows, stays.
//
// [PINSealer] seals what a user who is offline unlocks with. A [Limit] says how
// long the PIN opens it; it is in the object's policy, so that the TPM refuses
// by itself when it is over, whatever the machine's clock says and whatever old
// files are put back. The TPM's clock runs with power only, and a power loss
// without a shutdown sets it back by up to 70 minutes. Hence the two counts
// beside the time: resets (boots, power losses) and restarts (sleep,
// hibernation), which a machine that sleeps must allow for. Their zero value is
// none. They bound how often there is a gap that the clock does not see, not
// its length; nothing on a machine without power measures that. With the
// owner's auth value, which is empty as a rule, the clock can be set ahead
// (TPM2_ClockSet) and made to run slower or faster within what the maker allows
// (TPM2_ClockRateAdjust), never set back.
//
// The TPM looks at the limit when a policy session is prepared for the PIN. A
// thief who is quick enough keeps such a session and goes on trying PINs, at
// the pace that the dictionary-attack protection leaves, until the next TPM
// reset: Time and Restarts do not end that, Resets does.
//
// Wrong PINs count for the TPM as a whole: [WrongPINError] says how many tries
// are left, [LockedOutError] how long to wait. Of sealed data, what is known
// without the PIN is found first and costs no try: [ErrInvalidBlob] of a damaged
// or another record's blob, [ErrExpired], [ErrCleared], [ErrTPMChanged]. A key
// ties its blob to nothing: where the salt of its PIN is damaged, the right PIN
// is a wrong one. A power loss after a PIN was used may count as a try.
//
// A PIN that was changed is still good for a copy of the old blob, on this TPM
// and, if it is sealed data, until its limit. Who clears the TPM loses all of
// it.
//
// # What goes wrong
//
// Errors are few and mean one thing each; see the variables. A TPM that was
// reset, a lost connection, full slots and a TPM that asks to be tried again
// are dealt with here and do not surface, but for a connection that is lost
// while the TPM tries a PIN: it may have counted, so that it is not tried again
// and the error is [ErrNoTPM]. No error says that a registration is gone:
// [ErrKeyUnusable] says that this TPM does not take the key, and the other TPM
// may come back.
//
// A call returns when its context ends. A TPM cannot recall a command, so that
// one under way is finished in the background and what it loaded is flushed.
package tpm
