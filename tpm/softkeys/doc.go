// Package softkeys is a key store without a TPM: keys and secrets are encrypted
// at rest and in this process's memory while in use.
//
//	keys, err := softkeys.Open(softkeys.File(filepath.Join(dir, "master.key")))
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer keys.Close()
//
// It protects against an attacker who reads the files without the master key,
// but not against one who controls the process or can read its memory. It never
// replaces a TPM on its own: an application chooses it, and [tpm.Info] names
// it.
//
// Each record has a key of its own, HKDF-SHA-256 over the master key with a
// random salt of 32 bytes, and is sealed with AES-256-GCM. A PIN adds a layer
// under Argon2id; nothing counts wrong PINs, so an attacker with the files and
// the master key can try them all.
package softkeys
