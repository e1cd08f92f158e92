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
// nothing else means that the user must be asked. [Broker.AcquireTokenInteractive]
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
// A registration ([prt.JoinEntra], [prt.JoinPersonal] or [prt.JoinHybrid]) survives a crash at any
// point: the keys are made and saved first, the record says that the request
// may have been sent before it is, and is completed after. The next call takes
// an interrupted registration up with the same keys and asks for the same
// device object. A device that is registered already is returned as it is, so
// that calling RegisterDevice again costs nothing. For some seconds
// after a join the token service does not know the device (AADSTS50155); the
// first sign-in waits for it, a minute at most.
//
// [Scope] says whose the registration is. With [ScopeUser], all apps of a user give
// the same directory to [store.NewFile] and share one registration and its
// accounts. With [ScopeSystem], a privileged service registers once and keeps the
// accounts of each user of the machine apart (Config.UserID).
//
// # Which PRT is used
//
// One PRT is kept for each kind of credential, since they end for different
// reasons: a password change kills the PRT of a password and not that of a
// Hello key. The strongest that is alive is used: MFA before none, then the
// more recent MFA. Where a policy refuses it and another PRT may have what it
// lacks, a method of stronger kind or a later sign-in, that one is tried before
// the user is asked. What is known about MFA ([claims.Evidence]) belongs to one
// PRT and is never mixed or lost by a renewal; when the service does not say,
// the answer is Unknown, not No.
//
// A step-up goes, in this order, by the PIN of a Hello key (Prompter.PIN)
// where that can be enough, by the authorize page for the broker client
// (Prompter.Authorize) or, where no page can be shown, by a device code
// (Prompter.DeviceCode). A tenant may refuse device codes, and what comes of
// one stays marked as such.
//
// # What is MFA here, and why
//
// MFA is two factors of different kinds: something known, something owned,
// something that one is. For Conditional Access it is a claim of the session,
// which the PRT keeps: the amr of its tokens says mfa, and the service knows
// besides which methods were used and when. So the question at each app is not
// whether the user does MFA now, but whether the session has done it, by a
// method that the policy takes, recently enough.
//
// Some sign-ins are MFA by themselves. A Hello key is in the TPM of this device
// (owned) and signs for who gives the PIN (known). A passkey and a multifactor
// certificate are the same on another carrier, phone sign-in on a telephone,
// and an access pass counts as if it were. Others are MFA with a second step:
// a password and then a code, a text message, a call or a number match. A
// password alone, a certificate that nothing unlocks, and what a federation
// server states without MFA are one factor. That the device signs as well, the
// rsa in every amr here, is no factor of the user's.
//
//	signed in with                  grant "mfa",    passwordless  phishing-resistant
//	                                strength "MFA"
//	Hello PIN, passkey,             silent          silent        silent
//	  multifactor certificate
//	phone sign-in                   silent          silent        asked
//	password and a second step,     silent          asked         asked
//	  federated MFA, access pass
//	one factor                      asked           asked         asked
//
// The program examples/quickstart prints the whole table (-methods) after
// using every method end to end.
//
// A sign-in frequency looks at the time. A renewal moves none: it proves no
// user. [Broker.Unlock] does, since the user gives the PIN, and so does every
// other sign-in. What is born of an access pass ends with the pass. A password
// change ends the PRTs that a password made, and with them their MFA; that of a
// Hello key stays.
//
// # Hello keys
//
// [Broker.ProvisionHello] makes such a key and registers it, which the service
// allows for some minutes after MFA that the user was asked for (amr ngcmfa; a
// Hello sign-in is none). From then on [HelloPIN] is a credential, and
// [Broker.Unlock] is what a lock screen calls. The PIN leaves this process
// neither for the service nor for the TPM, which is given a key derived from
// it with a salt. [Broker.ChangePIN] keeps the key, [Broker.ResetPIN] makes a
// new one, [Broker.RemoveHello] deletes it at the service first.
//
// Who has the device can try PINs. The TPM counts wrong ones, for all programs
// together, and locks out ([ErrPINLocked], with the time to wait); the broker
// counts before it asks the TPM, so that one account does not use up the tries
// of the machine. Software counts nothing: a Hello key there is MFA to Entra
// and not to you, is refused unless Config.InsecureSoftwareHello says
// otherwise, and [Broker.Why] says which it is.
//
// Without a network Unlock proves the user against the TPM alone and opens what
// the account has cached, within Config.Offline, which the TPM measures.
// [Broker.Lock] puts PRTs and tokens where only that opens them; a PRT of an
// account that is not locked is opened by the TPM without a PIN, since silent
// tokens ask nobody. The limits, and where they end:
//
//   - time counts while the machine has power; Resets and Restarts bound how
//     often it may have had none;
//   - the TPM looks at them before it takes a PIN. A thief who is quick enough
//     to prepare for that within them goes on trying PINs after them, as slowly
//     as the TPM's lockout makes it, until the machine boots: see [tpm.Limit];
//   - an older state put back opens until its own limit is over, by the PIN of
//     its time: the TPM cannot know that there is a newer one. ResetPIN and
//     removing the key at the service end that online, not offline;
//   - what the service said for certain (user or device disabled or deleted,
//     key unknown) is kept and refuses offline too, unless an older state is
//     put back.
//
// # Lifetime
//
// A PRT in use is renewed when it is older than [prt.RenewAfter], lazily by the
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
// Everything that must survive the process goes to a [store.Store], sealed
// under a data key per account, wrapped by a key that only the key store opens:
// AES-256-GCM under a key per record, bound to the record's name, with a
// generation that an older state put back does not have ([ErrStateDamaged]).
// Writing costs no command of the TPM. [store.File] keeps it in a directory that
// several processes may share; [store.Blob] is one value, for a program that keeps
// the state of each user itself; [store.Memory] forgets. A copy of the state opens
// nothing on another machine ([ErrKeyUnusable]). No error of the service deletes a
// registration or an account: only [Broker.UnregisterDevice] and
// [Broker.RemoveAccount] do.
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
//	ErrWrongPIN              ask for the PIN again; the cause counts the tries left
//	ErrPINLocked             no PIN is tried; Error.RetryAfter says how long
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
// renew, register, or write down who has signed in.
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
