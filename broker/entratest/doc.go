// Package entratest is a Microsoft Entra ID inside the process: the sign-in
// service, the device registration service, a small Microsoft Graph and the
// federation server of a federated domain, at their real host names and paths.
// It is to a program that signs in with Entra what [net/http/httptest] is to
// one that speaks HTTP.
//
//	clock := entratest.NewClock(time.Time{})
//	srv := entratest.NewTB(t, entratest.Options{
//		Clock: clock,
//		Users: []entratest.User{{Username: "alice", Password: "correct horse", TOTPSecret: "JBSWY3DPEHPK3PXP"}},
//		Apps: []entratest.App{{ClientID: app, Public: true, Redirects: []string{redirect}, URIs: []string{"api://payroll"}}},
//		Policies: policies, // Conditional Access, as Microsoft Graph exports it
//	})
//	client := srv.Client() // for https://login.microsoftonline.com/… and the others
//
// [Server.Client] trusts the server's own certificate authority and dials the
// real host names to a loopback port; any other host is refused, so that
// nothing aimed at the emulator reaches the real service. [Server.Transport]
// does the same in memory, without sockets.
//
// # What is real
//
// What a client proves is checked, all of it, and by code that shares nothing with
// a client but the key derivation: signatures of devices, session keys, Hello keys and passkeys,
// certificate requests and key blobs, nonces and their age, code verifiers,
// redirect URIs, the scopes a client may have. A Primary Refresh Token (PRT) is
// opaque, bound to its device and its session key, renewed for 14 days at a
// time and 90 days in all; the replies to requests that it signs are encrypted
// as Entra encrypts them, oddities included. JWTs are signed with RS256 under a
// published key, and stock libraries accept them. Conditional Access is judged
// by package policy when a token for an app is issued, and never when a PRT is
// issued or renewed. Device certificates have the extensions of real ones,
// in their order and with their non-minimal lengths.
//
// Sign-in happens on pages of plain HTML, usable by hand: see
// [Server.BrowserURL] for an ordinary browser, and [Person] for a headless
// human that reads and fills in the forms. A user signs in with a password, a
// passkey (WebAuthn, with its signature counter), a certificate (TLS), a
// temporary access pass, or the authenticator app alone, and gives as a second
// factor a code of an app or a hardware token (RFC 6238), a number in the app, a
// text message, a call, a passkey or a certificate, as far as the authentication
// strength that a policy asks for takes them. Federated users give both at their
// federation server, whose word for MFA the tenant accepts, enforces or rejects.
// The pages let users register an app, change an expired password, consent, and
// accept terms of use. A browser is signed in by a cookie that a PRT signed, and
// proves its device by a device credential or PKeyAuth.
//
// Numbers, calls and text messages reach phones that the emulator plays too, on
// a page of its own that the real service does not have: see
// [Server.AuthenticatorURL], or [Server.AnswerNumberMatch], [Server.AnswerCall]
// and [Server.SMSCode].
//
// Microsoft Graph lets a token reach its own user with the scope for that, and
// another with the scopes and roles that its documentation lists.
//
// # What a test can do
//
// Time is virtual when [Options] has a [Clock]. Users, devices, applications
// and policies change while requests run: [Server.ChangePassword],
// [Server.Revoke], [Server.DisableDevice], [Server.SetCompliant],
// [Server.SetRisk], [Server.SetPolicies] and the others are what an
// administrator or a user would do, and have the consequences that the service
// gives them. [Server.SignIns] is the sign-in log, with the result of every
// policy. [Server.AddFault] breaks connections before or after a request was
// handled, delays, throttles, truncates and garbles replies, or answers any
// AADSTS error, for an endpoint and the n-th call of it.
//
// What a client does wrong is refused with the error that Entra would send,
// and the precise reason goes to [Options].Logf, which [NewTB] points at the
// test's log.
//
// Right after a join the sign-in service does not know the device yet and
// answers AADSTS50155, as the real one does; Options.ReplicationLag tunes that.
//
// Equal seeds and equal calls give equal answers, but for three things that
// crypto/rsa, crypto/ecdsa and concurrency decide: the padding of wrapped
// session keys, the TLS certificates, and the order of concurrent requests.
//
// # Programs without a user
//
// Applications get tokens of their own by a secret, a certificate or the token of
// another issuer ([App.Federated]), and managed identities by the endpoints that
// Azure's machines and services offer ([Server.ManagedIdentity]); services act on
// behalf of the user whose token they were shown. App roles and groups are in tokens
// as the app is configured, and policies for workload identities apply. The keys of
// other issuers are not fetched: the emulator plays those issuers itself
// ([Server.FederatedToken]).
//
// # What is not
//
// There are no Kerberos tickets (tgt_ad and tgt_cloud say so), no guests of
// other tenants, no protocol version 4.0 with its keys on P-256, and no Microsoft
// account. Users sign in by certificates that the emulator issued, bound by the
// principal name alone; those of another authority are not taken. A text
// message is no first factor, and codes by mail are not sent. The tenants have no
// licence: every feature is there. The canary of a page, by which the service tells
// its own forms from those of another site (AADSTS165000), is there for programs to
// send back and is not checked.
//
// The protocol is that of MS-OAPXBC, MS-OAPX, MS-KPP and MS-DVRJ, the OAuth
// documentation of Microsoft Entra, and what public clients send. Where these
// leave something open the server is liberal in what it takes.
package entratest
