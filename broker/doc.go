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
// # The device
//
// A registration ([Join], [Register] or [Hybrid]) survives a crash at any
// point: the keys are made and saved first, the record says that the request
// may have been sent before it is, and is completed after. The next call takes
// an interrupted registration up with the same keys and asks for the same
// device object. A device that is registered already is returned as it is, so
// that calling RegisterDevice again costs nothing. For some seconds
// after a join the token service does not know the device (AADSTS50155); the
// first sign-in waits for it, a minute at most.
//
// [Scope] says whose the registration is. With [User], all apps of a user give
// the same directory to [NewFileStore] and share one registration and its
// accounts. With [System], a privileged service registers once and keeps the
// accounts of each user of the machine apart (Config.UserID).
//
// # Which PRT is used
//
// One PRT is kept for each kind of credential, since they end for different
// reasons: a password change kills the PRT of a password and not that of a
// Hello key. The strongest that is alive is used: MFA before none, then the
// more recent MFA. What is known about MFA ([claims.Evidence]) belongs to one
// PRT and is never mixed or lost by a renewal; when the service does not say,
// the answer is Unknown, not No.
//
// A step-up goes, in this order, by the authorize page for the broker client
// (Prompter.Authorize) or, where no page can be shown, by a device code
// (Prompter.DeviceCode). A tenant may refuse device codes, and what comes of
// one stays marked as such.
//
// # Lifetime
//
// A PRT in use is renewed when it is older than [RenewAfter], lazily by the
// call that uses it or in the background by [Broker.Run]. Renewal moves the
// expiry and nothing else: the time of the MFA stays, so that a sign-in
// frequency still asks when it is due. Unused for 14 days it dies
// ([ErrPRTExpired]).
//
// # Tokens
//
// A token from memory costs no request, no lock and no allocation, with one
// token there or ten thousand. It is refreshed in the background when the
// service wants that, and serves to its end when no new one is to be had. All
// who ask for the same at the same time share one request; whoever gives up
// cancels nobody else.
//
// Requests are repeated where the service cannot have handled them or asked
// for it (429, 5xx, some AADSTS codes, no connection), and an endpoint that
// asked to be left alone, or keeps failing, is.
//
// [RoundTripper] sends requests to an API and answers its claims challenge.
// Package oauth2broker makes an oauth2.TokenSource, and the module
// broker/azcred a credential of the Azure SDK. Who knows MSAL Go finds its
// verbs in docs/msal-go.md.
//
// # State
//
// Everything that must survive the process goes to a [Store], sealed under a
// data key per account that only the key store opens: AES-256-GCM under a key
// per record, bound to the record's name, with a generation that an older
// state put back does not have ([ErrStateDamaged]). Writing costs no command
// of the TPM. [FileStore] keeps it in
// a directory that several processes may share; [MemoryStore] forgets. A copy
// of the state opens nothing on another machine ([ErrKeyUnusable]). No error
// of the service deletes a registration or an account: only
// [Broker.UnregisterDevice] and [Broker.RemoveAccount] do.
//
// # Errors
//
// What the service refused is an [*Error] with the AADSTS code, what it means
// for the caller ([Error.Verdict]), the claims to hand on and the correlation
// id to look for in the tenant's sign-in log. Test for the sentinels with
// [errors.Is]; the exact code decides before the suberror. These are worth a
// branch:
//
//	ErrInteractionRequired   ask the user: AcquireTokenInteractive
//	ErrTransient             try later; ErrThrottled says when
//	ErrBlocked               tell the user; asking does not help
//	ErrAppConfig             the app's registration: the text says what to add
//	ErrDeviceAuth            the device: ErrDeviceDisabled and ErrDeviceGone say more
//	ErrBadCredential         ask for the password again, never send it again
//	ErrKeyUnusable           another machine, another TPM, or a cleared one
//
// # Why was I not asked?
//
// [Broker.Why] answers for one app: it follows the chain from the registration
// to the policies of the tenant, given as a [policy.Set], and says whether the
// user will be asked and because of what, as data and as text. It never
// guesses: a fact that decides and is not known makes the answer Unknown and
// is named. [Broker.SignInLog] says what the service decided in the past.
// [Broker.Status] prints what `dsregcmd /status` shows.
//
// # Questions
//
// My token has no deviceid: it came by an app's own refresh token or a device
// code. One that AcquireTokenSilent got by the PRT has it.
//
// A policy that asks for a compliant device refuses the token (AADSTS53000)
// until the device management reports the device; no prompt changes that
// (ErrDeviceNotCompliant).
//
// MFA in the app's own sign-in does not help the other apps: only a sign-in of
// the broker client reaches the PRT. AcquireTokenInteractive does that.
//
// AADSTS50078 and 70043 mean that the MFA is stale. The password is not wrong.
//
// The network was down for a week: tokens in memory serve until they end, and
// a PRT that looks expired is tried once before it is given up.
//
// # Concurrency
//
// A token in memory is returned without a lock, a store or an allocation.
// A thousand callers of one expired token make one request, and one of them
// who gives up fails no other. Every call returns within its context. Two
// processes that share a store exclude each other by a lease only while they
// renew or register.
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
