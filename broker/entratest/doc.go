// Package entratest emulates Microsoft Entra ID within the process: the sign-in
// service, the device registration service, a small part of Microsoft Graph and
// the federation server of a federated domain, at their real host names and paths.
// It is for programs that sign in with Entra what [net/http/httptest] is for
// programs that speak HTTP.
//
//	clock := entratest.NewClock(time.Time{})
//	srv := entratest.NewTB(t, entratest.Options{
//		Clock:    clock,
//		Users:    []entratest.User{{Username: "alice", Password: "correct horse", TOTPSecret: "JBSWY3DPEHPK3PXP"}},
//		Apps:     []entratest.App{{ClientID: app, Public: true, Redirects: []string{redirect}, URIs: []string{"api://payroll"}}},
//		Policies: policies, // Conditional Access, as Microsoft Graph exports it
//	})
//	client := srv.Client() // for https://login.microsoftonline.com/… and the other hosts
//
// [Server.Client] trusts the server's own certificate authority and dials the
// real host names on a loopback port. It refuses any other host, so that
// nothing meant for the emulator reaches the real service. [Server.Transport]
// does the same in memory, without sockets.
//
// # What is real
//
// The server checks everything that a client has to prove, with code that shares
// only the key derivation with the client: signatures by devices, session keys,
// Hello keys and passkeys, certificate requests and key blobs, nonces and their
// age, code verifiers, redirect URIs, and the scopes that a client may have. A
// Primary Refresh Token (PRT) is opaque and bound to its device and its session
// key; each renewal extends it by 14 days, up to 90 days in all. Replies to
// requests signed with its session key are encrypted the way Entra encrypts them,
// oddities included. JWTs are signed with RS256 under a published key, and stock
// libraries accept them. Package policy evaluates Conditional Access when a token
// for an app is issued, and never when a PRT is issued or renewed. Device
// certificates have the extensions of real ones, in the same order and with the
// same non-minimal length encodings.
//
// Users sign in on pages of plain HTML that also work by hand: see
// [Server.BrowserURL] for an ordinary browser, and [Person] for a headless
// human that reads and fills in the forms. A user signs in with a password, a
// passkey (WebAuthn, with its signature counter), a certificate (TLS), a
// temporary access pass, or the authenticator app alone. The second factor is a
// code from an app or a hardware token (RFC 6238), a number match in the app, a
// text message, a call, a passkey or a certificate, provided that the
// authentication strength that a policy requires accepts it. Federated users give
// both factors at their federation server; the tenant accepts its claim of MFA,
// sends users there for MFA, or rejects the claim. The pages let users register
// an app, change an expired password, consent, and accept terms of use. A PRT
// cookie signs in a browser, and a device credential or PKeyAuth proves its
// device.
//
// The emulator also simulates the phones that receive number prompts, calls and
// text messages, on a page that the real service does not have: see
// [Server.AuthenticatorURL], or [Server.AnswerNumberMatch], [Server.AnswerCall]
// and [Server.SMSCode].
//
// In Microsoft Graph, access to the token's own user needs the scope for that, and
// access to another user the scopes and roles that its documentation lists.
//
// # What a test can do
//
// Time is virtual when [Options] has a [Clock]. A test may change users, devices,
// applications and policies while requests run: [Server.ChangePassword],
// [Server.Revoke], [Server.DisableDevice], [Server.SetCompliant],
// [Server.SetRisk], [Server.SetPolicies] and similar methods do what an
// administrator or a user would do, with the same consequences as in the real
// service. [Server.SignIns] returns the sign-in log, with the result of every
// policy. [Server.AddFault] breaks connections before or after a request is
// handled, delays, throttles, truncates or garbles replies, or answers with any
// AADSTS error, for a given endpoint and its n-th call.
//
// A client's mistake is refused with the error that Entra would send, and the
// precise reason goes to [Options].Logf, which [NewTB] points at the test's log.
//
// Right after a join the sign-in service does not know the device yet and
// answers AADSTS50155, as the real one does; Options.ReplicationLag tunes that.
//
// Equal seeds and equal calls give equal answers, except for three things that
// depend on crypto/rsa, crypto/ecdsa and concurrency: the padding of wrapped
// session keys, the TLS certificates, and the order of concurrent requests.
//
// # Programs without a user
//
// Applications get app-only tokens with a secret, a certificate or a token from
// another issuer ([App.Federated]). Managed identities get them from the endpoints
// that Azure's machines and services offer ([Server.ManagedIdentity]). Services act
// on behalf of the user whose token they received. Tokens carry app roles and groups
// as the app is configured, and policies for workload identities apply. The emulator
// plays other issuers itself ([Server.FederatedToken]) instead of fetching their
// keys.
//
// # Limitations
//
// The emulator has no Kerberos tickets (tgt_ad and tgt_cloud say so), no guests
// from other tenants, no protocol version 4.0 with its P-256 keys, and no personal
// Microsoft accounts. User certificates are bound by the principal name alone, and
// those that the emulator did not issue are refused. Text messages do not serve as a
// first factor, and codes are not sent by mail. Licences are not modelled: every
// feature is available. Pages carry a canary, by which the real service tells its own
// forms from those of another site (AADSTS165000), so that programs can send it back,
// but the emulator does not check it.
//
// The protocol follows MS-OAPXBC, MS-OAPX, MS-KPP and MS-DVRJ, the OAuth
// documentation of Microsoft Entra, and what public clients send. Where these
// leave something open, the server is liberal in what it accepts.
package entratest
