// Package tpm holds keys that never leave the machine: the contract of a key
// store, and the store over a TPM 2.0.
package tpm
