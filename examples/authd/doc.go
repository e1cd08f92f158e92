// Package authd provides what the Microsoft Entra ID provider of Canonical's authd
// (msentraid) expects of its package himmelblau, in pure Go: no cgo, no Rust
// toolchain and no shared library. Functions, types and error kinds have the names
// and signatures that authd uses, so that a file of some hundred lines replaces the
// binding to libhimmelblau with this package. docs/authd.md explains how, and the
// directory dropin contains the file.
//
// A [Provider] registers the device ([Provider.RegisterDevice]), signs the user in
// on Entra's pages with a password and a second factor, or without a password
// ([Provider.InitiateMFAFlow], [Provider.AcquireTokenByMFAFlow]), and gets the token
// with which authd reads a user's groups ([Provider.AcquireAccessTokenForGraphAPI]).
//
//	flow, challenge, err := p.InitiateMFAFlow(ctx, app, entra.TenantID(), nil, carol, "paper clip", true)
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer authd.FreeMFAFlowState(flow)
//	fmt.Println(challenge.Method, challenge.PollingIntervalMs)
//
// # State
//
// authd keeps one JSON value for each user: [DeviceRegistrationData]. It contains
// the whole state of the user on this machine: the device with its keys, and the
// Primary Refresh Token (PRT). It is sealed with the keys of the TPM, or with
// software keys whose master key is in the value too.
//
// The PRT is kept. It is issued with the registration, carries the MFA that the user
// did for it, and yields later tokens in one request without a prompt. Changes of
// the state, such as a renewed PRT, are kept in this process, and for the next one
// if [Config].Saved stores them. Without Saved, the next process starts with the PRT
// of the registration, and signs in with authd's refresh token if that PRT has
// expired.
//
// # Unstable
//
// Entra's pages are not a stable interface: see package broker/webflow. A page that
// it cannot handle ends in an [MFAError] of category [MFAErrorRequired], after which
// authd falls back to a device code.
package authd
