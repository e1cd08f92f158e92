// Package broker is an authentication broker for Microsoft Entra ID: it
// registers this device, keeps a Primary Refresh Token (PRT) per account bound
// to keys of the TPM, and turns it into silent tokens for apps.
//
// # The main job
//
// A [Broker] is made by [New] from a [Config], which needs a tenant and a key
// store. Then
//
//	Enroll, or RegisterDevice and SignIn
//
// are done once, with the user present, and
//
//	AcquireTokenSilent
//
// from then on, without the user. When a policy of the tenant asks for more
// than the PRT carries, the silent call ends in [ErrInteractionRequired] and
// nothing else means that the user is needed. [Broker.AcquireTokenInteractive]
// then steps up: the user does MFA once, a new PRT carries the claim, and the
// later calls of every app are silent again.
//
// # What happens on the wire
//
// RegisterDevice makes two keys in the key store, sends a certificate request
// and the transport key to the device registration service, and keeps the
// certificate, whose subject is the device id. SignIn fetches a nonce, signs a
// request with the device key and receives a PRT and a session key encrypted
// to the transport key (MS-OAPXBC 3.2.5.1.2). The session key stays in the key
// store. AcquireTokenSilent answers from memory, or signs a request with a key
// derived from the session key (MS-OAPXBC 3.2.5.1.3) and decrypts the reply
// with another one.
//
// Conditional Access is evaluated by the service when a token for an app is
// issued, never when a PRT is issued or renewed. A PRT is therefore no proof
// of strong authentication; [PRTStatus] says what it carries.
//
// # Lifetime
//
// A PRT in use is renewed when it is older than [RenewAfter], lazily by the
// call that uses it or in the background by [Broker.Run]. Renewal moves the
// expiry and nothing else: the time of the MFA stays, so that a sign-in
// frequency still asks when it is due. Unused for 14 days it dies
// ([ErrPRTExpired]).
//
// # State
//
// Everything that must survive the process goes to a [Store], sealed under a
// data key per account that only the key store opens. [FileStore] keeps it in
// a directory that several processes may share; [MemoryStore] forgets. A copy
// of the state opens nothing on another machine ([ErrKeyUnusable]). No error
// of the service deletes a registration or an account: only
// [Broker.UnregisterDevice] and [Broker.RemoveAccount] do.
//
// # What the library never does
//
// It opens no browser and no prompt (the app does, by [Prompter]), writes to
// no terminal, reads no password by itself and never retries one, weakens no
// TLS verification, and falls back to nothing: a state made with a TPM is not
// opened without it.
//
// This package is not supported or endorsed by Microsoft. It speaks published
// protocols and uses first-party client ids as public clients do.
package broker
