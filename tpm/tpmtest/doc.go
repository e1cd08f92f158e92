// Package tpmtest is for testing code that uses package tpm. It has software
// TPMs, transports that count commands and inject faults, and the conformance
// suite for key stores.
//
// [Swtpm] starts a TPM with a fresh state for one test, or skips the test where
// swtpm is not installed:
//
//	keys, err := tpm.Open(t.Context(), tpmtest.Swtpm(t).Opener(), tpm.Config{})
//	require.NoError(t, err)
//	defer keys.Close()
//
// Between it and the code under test goes a transport that counts commands
// ([Counting]), injects faults ([Faulty]), records the bytes on the wire
// ([Recording]) or behaves like Linux's resource manager ([Managed]). [Store] takes
// its RSA keys from a pool, since a software TPM needs seconds to make one.
// [RunKeyStore] is the suite that every [tpm.KeyStore] must pass.
package tpmtest
