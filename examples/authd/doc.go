// Package authd gives Canonical's authd what its provider for Microsoft Entra ID
// (msentraid) expects of its package himmelblau, in Go alone: no cgo, no Rust
// toolchain and no shared library. Functions, types and error kinds have the names
// and the shapes that authd uses, so that a file of some hundred lines puts this
// package in the place of the binding to libhimmelblau. docs/authd.md says how, and
// the directory dropin has the file.
//
// A [Provider] registers the device ([Provider.RegisterDevice]), signs the user in
// on Entra's pages with a password and a second factor, or without a password
// ([Provider.InitiateMFAFlow], [Provider.AcquireTokenByMFAFlow]), and gets the token
// by which authd reads a user's groups ([Provider.AcquireAccessTokenForGraphAPI]).
//
// # State
//
// authd keeps one JSON value for each user: [DeviceRegistrationData]. In it is the
// whole state of the user on this machine: the device with its keys, and the
// Primary Refresh Token (PRT). It is sealed by the keys of the TPM, or of software
// keys whose master key is in the value too.
//
// The PRT is kept. It comes with the registration, carries the MFA that the user did
// for it, and brings later tokens in one request without anybody being asked. A
// change of the state, such as a renewed PRT, is known to this process, and to the
// next one where [Config].Saved keeps it. Without Saved the next process begins with
// the PRT of the registration, and signs in by authd's refresh token where that one
// has ended.
//
// # Unstable
//
// The pages of Entra are no contract: see package broker/webflow. What it cannot
// drive ends in an [MFAError] of category [MFAErrorRequired], at which authd goes on
// by device code.
package authd
