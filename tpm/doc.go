// Package tpm holds keys that never leave the machine. It defines the contract
// of a key store and implements it over a TPM 2.0.
//
//	keys, err := tpm.Open(ctx, tpm.Default(), tpm.Config{})
//	if err != nil {
//		return err
//	}
//	defer keys.Close()
//	device, err := keys.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Sign})
//	if err != nil {
//		return err
//	}
//	signature, err := device.(tpm.Signer).SignContext(ctx, digest, crypto.SHA256)
//
// A [KeyStore] holds three kinds of objects. Asymmetric keys sign (device key,
// Hello key) or receive session keys (transport key). A session key, which
// binds a Primary Refresh Token to the device, is unwrapped inside the store
// and only gives out keys derived from it. Sealed data is small: the data keys
// under which a caller encrypts its state. For each of the three the store
// returns a blob, which is safe at rest and opens only where it was made; the
// store itself keeps no files.
//
// [TPM.Check] reports in advance whether a TPM can do all of this, and names
// what it lacks.
//
// Package softkeys implements the same contract in software. This package never
// falls back to it: the application decides, and [Info] says what it chose.
// Package tpmtest has software TPMs for tests and the conformance suite that
// every KeyStore must pass.
//
// # What it costs
//
// On a hardware TPM commands cost 10 to 500 ms, so tests count them at the
// transport. A session key and one authenticated session stay loaded for
// [Config.Idle] after use:
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
// In addition, once per [Config.Idle], one command starts the session and one
// loads the storage root key if that is a transient primary, which stays loaded
// as well. The first Seal or SealPIN of a store that has not unsealed anything
// also makes the attestation key, with two more commands.
//
// Two session keys stay loaded. No TPM command derives from a key that is not
// loaded, so a third one costs its Load and the Flush of one of the two. On a
// connection of its own a store has three slots, and needs two of them to load
// or make anything: if two session keys are loaded, one is flushed first.
//
// Behind Linux's /dev/tpmrm0 every command also swaps in and out what its
// descriptor has loaded, so a session key has a descriptor of its own. A second
// one would cost three more commands at the chip for each derivation there. It
// shares the descriptor for everything else, until something else is loaded
// there.
//
// # What it protects from
//
// Every command with a secret runs in an HMAC session salted to the storage
// root key, whose name is pinned in every blob and by [Config.SRKName], and the
// secret is encrypted. An attacker who taps or alters the bus therefore learns
// nothing, and another TPM cannot take the place of this one: [ErrTPMChanged].
// The session key is in this process once, between two commands, in buffers
// that are cleared. Only objects with a PIN are subject to the TPM's
// dictionary-attack protection, because a power loss counts as a wrong try.
// SECURITY.md at the root of the repository has the threat model, each claim
// with its test.
//
// # PINs
//
// A key made with [KeySpec].PIN needs the PIN each time it is opened. It is a
// [PINKey]: its PIN can be changed without changing the key, whose public part
// a service knows.
//
// [PINSealer] seals the secret that a user unlocks offline with a PIN. A
// [Limit] bounds how long the PIN opens it. The limit is part of the object's
// policy, so the TPM itself refuses once it has passed, whatever the machine's
// clock says and even if old files are restored. The TPM's clock runs only with
// power, and a power loss without a shutdown sets it back by up to 70 minutes.
// That is why the limit has two counts besides the time: resets (boots, power
// losses) and restarts (sleep, hibernation), which a machine that sleeps must
// allow for. The zero value of either allows none. They bound how often there
// is a gap that the clock does not see, not its length; nothing on a machine
// without power measures that. With the owner's auth value, which is usually
// empty, the clock can be set forward (TPM2_ClockSet) and made to run slower or
// faster within the manufacturer's limits (TPM2_ClockRateAdjust), but never set
// back.
//
// The TPM checks the limit when a policy session is prepared for the PIN. A
// thief who is quick enough can keep such a session and go on trying PINs, at
// the rate that the dictionary-attack protection allows, until the next TPM
// reset: Time and Restarts do not end that, Resets does.
//
// Wrong PINs count for the TPM as a whole: [WrongPINError] says how many tries
// are left, [LockedOutError] how long to wait. For sealed data, problems that
// can be detected without the PIN are detected first and cost no try:
// [ErrInvalidBlob] for a blob that is damaged or belongs to another record,
// [ErrExpired], [ErrCleared], [ErrTPMChanged]. The blob of a key has no such
// check: if the salt of its PIN is damaged, the right PIN counts as a wrong
// one. A power loss after a PIN was used may count as a try.
//
// After a PIN change the old PIN still opens a copy of the old blob, on this
// TPM and, for sealed data, until its limit. Clearing the TPM makes all keys
// and sealed data unusable.
//
// # What goes wrong
//
// There are few errors, and each means one thing; see the variables. TPM
// resets, lost connections, full slots and requests to try again are handled
// here and not reported, with one exception: if the connection is lost while
// the TPM tries a PIN, the try may have counted, so it is not repeated and the
// error is [ErrNoTPM]. No error says that a registration is gone:
// [ErrKeyUnusable] says that this TPM does not accept the key, and the right
// TPM may come back.
//
// A call returns when its context ends. A TPM cannot recall a command, so one
// that is under way finishes in the background, and what it loaded is flushed.
package tpm
