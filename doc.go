// Package prtbroker is the root of an embeddable authentication broker for
// Microsoft Entra ID. It holds no code; this page is the map.
//
// A program that imports the broker gets what Windows has in CloudAP and the
// Web Account Manager: a registered device, keys bound to its TPM, a Primary
// Refresh Token (PRT), an MFA claim that is earned once and persists as long as
// the PRT lives, silent tokens for every app, and cookies for browser sign-on.
// It needs no cgo, no daemon and no Microsoft binary.
//
//	broker             the manager: device, accounts, tokens, state, errors
//	broker/entratest   an in-process Entra, for tests and demos
//	broker/webflow     sign-in without a browser, for login managers (unstable)
//	broker/dbus        the Linux broker interface, server and client
//	broker/prompt/…    prompters: a terminal, a Chromium window
//	prt                the PRT protocol, client side, without I/O
//	claims             what a token says about a sign-in: methods, MFA, device
//	claims/verify      tokens checked against a JWKS
//	policy             Conditional Access: load, compile, evaluate, explain
//	tpm                keys that never leave the machine: contract and TPM store
//	tpm/softkeys       the same contract in software, without a TPM
//	tpm/tpmtest        software TPMs and a conformance suite, for tests
//
// Start with package [github.com/prtbroker/prtbroker/broker]. The program
// examples/quickstart shows the whole flow against the emulator.
//
// This project is not supported or endorsed by Microsoft. It speaks published
// protocols (MS-OAPXBC, MS-OAPX, MS-KPP) and uses first-party client ids as
// public clients do.
package prtbroker
