// Package claims reads what the tokens of Entra ID say about a sign-in: by
// which methods, with MFA or without, when, and on which device.
package claims
