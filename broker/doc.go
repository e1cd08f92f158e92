// Package broker is an authentication broker for Microsoft Entra ID: it
// registers this device, keeps a Primary Refresh Token (PRT) per account bound
// to keys of the TPM, and turns it into silent tokens for apps.
//
//	cfg := broker.Config{Tenant: tenant, App: app, Keys: keys, Prompter: ui, Transport: transport}
//	b, err := broker.New(ctx, cfg)
//	if err != nil {
//		return err
//	}
//	defer b.Close()
//	if _, err := b.Enroll(ctx, broker.AuthCode{}, broker.EnrollRequest{}); err != nil { // once
//		return err
//	}
//	scopes := []string{"https://graph.microsoft.com/User.Read"}
//	token, err := b.AcquireTokenSilent(ctx, scopes) // every time
//	if errors.Is(err, broker.ErrInteractionRequired) {
//		token, err = b.AcquireTokenInteractive(ctx, scopes)
//	}
//
// The user is present for [Broker.Enroll], which registers the device and signs the
// user in, and is not needed from then on: [Broker.AcquireTokenSilent] never prompts.
// When a policy of the tenant asks for more than the PRT carries, it fails with
// [ErrInteractionRequired]; no other error means that the user must be asked.
// [Broker.AcquireTokenInteractive] then steps up: the user does MFA once, a new PRT
// carries the claim, and later calls of every app are silent again.
//
// Where one prompt for both is not wanted, [Broker.RegisterDevice] and
// [Broker.SignIn] do the two parts of Enroll. The key store is package tpm, or
// package softkeys on a machine without a TPM.
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
// issued, never when a PRT is issued or renewed. A PRT is therefore not proof
// of strong authentication; [PRTStatus] says what it carries.
//
// # The device
//
// A registration ([prt.JoinEntra], [prt.JoinPersonal] or [prt.JoinHybrid])
// survives a crash at any point: the keys are made and saved first, the record
// notes that a request may have been sent before it is sent, and the record is
// completed afterwards. The next call resumes an interrupted registration with
// the same keys and asks for the same device object. A device that is already
// registered is returned as it is, so calling RegisterDevice again costs
// nothing. For some seconds after a join the token service does not know the
// device (AADSTS50155); the first sign-in waits for it, a minute at most.
//
// [Scope] says who owns the registration. With [ScopeUser], all apps of a user
// give the same directory to [store.NewFile] and share one registration and its
// accounts. With [ScopeSystem], a privileged service registers once and keeps
// the accounts of each user of the machine separate (Config.UserID).
//
// # Which PRT is used
//
// One PRT is kept for each kind of credential, since they end for different
// reasons: a password change revokes the PRT of a password but not that of a
// Hello key. The strongest PRT that is still good is used: one with MFA before
// one without, then the one with the more recent MFA. If a policy refuses it
// and another PRT may have what it lacks (a stronger method or a later
// sign-in), that one is tried before the user is asked. What is known about MFA
// ([claims.Evidence]) belongs to one PRT: it is never mixed with that of
// another, nor lost in a renewal. When the service does not say, the answer is
// Unknown, not No.
//
// A step-up uses, in this order, the PIN of a Hello key (Prompter.PIN) where
// that can be enough, the authorize page for the broker client
// (Prompter.Authorize) or, where no page can be shown, a device code
// (Prompter.DeviceCode). A tenant may refuse device codes, and tokens obtained
// with one stay marked as such.
//
// # What counts as MFA
//
// MFA is a claim of the session, which the PRT keeps. A sign-in with a Hello PIN, a
// passkey or a multifactor certificate is MFA by itself; after a password, one prompt
// adds the claim. A sign-in frequency looks at the time of that authentication, which
// a renewal does not move and [Broker.Unlock] does. Which method satisfies what:
// https://github.com/prtbroker/prtbroker/blob/main/docs/mfa.md
//
// # Hello keys
//
// [Broker.ProvisionHello] makes a key that a PIN unlocks and registers it, within some
// minutes of MFA that the user was prompted for. From then on [HelloPIN] is a
// credential, and [Broker.Unlock] is what a lock screen calls, also without a network
// within Config.Offline. [Broker.ChangePIN] keeps the key, [Broker.ResetPIN] makes a
// new one, [Broker.RemoveHello] deletes it at the service first. [Broker.Lock] moves
// PRTs and tokens to where only the PIN opens them.
//
// The TPM counts wrong PINs and locks out ([ErrPINLocked]). A key in software counts
// nothing and is refused unless Config.InsecureSoftwareHello allows it. What protects
// a PIN, and the limits of unlocking offline:
// https://github.com/prtbroker/prtbroker/blob/main/docs/hello.md
//
// # Lifetime
//
// A PRT in use is renewed when it is older than [prt.RenewAfter], either by the
// call that uses it or in the background by [Broker.Run]. Renewal moves the
// expiry and nothing else: the time of the MFA stays, so that a sign-in
// frequency still asks when it is due. A PRT that is not used for 14 days
// expires ([ErrPRTExpired]).
//
// # Tokens
//
// A token from memory costs no request, no lock and no allocation, whether the
// cache holds one token or ten thousand. It is refreshed in the background when
// the service wants that, and is served until it expires if no new one is to be
// had. All callers that ask for the same token at the same time share one
// request; a caller that gives up does not cancel it for the others.
//
// Requests are repeated where the service cannot have handled them or asked for
// it (429, 5xx, some AADSTS codes, no connection). An endpoint that asked to be
// left alone, or that keeps failing, is left alone.
//
// [RoundTripper] sends requests to an API and answers its claims challenge.
// Package oauth2broker makes an oauth2.TokenSource, and the module
// broker/azcred a credential of the Azure SDK. For users of MSAL Go,
// docs/msal-go.md maps its calls to this package.
//
// # State
//
// Everything that must survive the process goes to a [store.Store], sealed
// under a data key per account, which is wrapped by a key that only the key
// store opens. Records are sealed with AES-256-GCM under a key per record,
// bound to the record's name, with a generation that detects an older state put
// back ([ErrStateDamaged]). Writing needs no TPM command. [store.File] keeps
// the state in a directory that several processes may share; [store.Blob] is a
// single value, for a program that keeps the state of each user itself;
// [store.Memory] keeps nothing beyond the process. A copy of the state opens
// nothing on another machine ([ErrKeyUnusable]). No error of the service
// deletes a registration or an account: only [Broker.UnregisterDevice] and
// [Broker.RemoveAccount] do.
//
// # Errors
//
// A refusal by the service is an [*Error] with the AADSTS code, what it means
// for the caller ([Error.Verdict]), the claims to pass on and the correlation
// id to look for in the tenant's sign-in log. Test for the sentinels with
// [errors.Is]; the exact code takes precedence over the suberror. These are
// worth a branch:
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
// user will be asked and why, as data and as text. It never guesses: if a fact
// that decides is not known, the answer is Unknown and names that fact.
// [Broker.SignInLog] says what the service decided in the past. [Broker.Status]
// prints what `dsregcmd /status` shows.
//
// # Questions
//
// My token has no deviceid: it came from an app's own refresh token or a device
// code. One that AcquireTokenSilent got with the PRT has it.
//
// A policy that asks for a compliant device refuses the token (AADSTS53000)
// until device management reports the device as compliant; no prompt changes
// that (ErrDeviceNotCompliant).
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
// A token in memory is returned without a lock, a store or an allocation. A
// thousand callers of one expired token make one request, and a caller that
// gives up does not fail the others. Every call returns within its context. Two
// processes that share a store exclude each other by a lease only while they
// renew, register, or record who has signed in.
//
// # What the library never does
//
// It opens no browser and no prompt (the app does, through [Prompter]), writes
// to no terminal, reads no password by itself and never retries one, weakens no
// TLS verification, and has no fallback: a state made with a TPM is not opened
// without it.
//
// This package is not supported or endorsed by Microsoft. It speaks published
// protocols and uses first-party client ids as public clients do.
package broker
