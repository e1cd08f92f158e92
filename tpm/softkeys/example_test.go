package softkeys_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

// A program on a machine without a TPM keeps its keys under a file that it makes
// at the first run. It is told, by Info, what that is worth.
func ExampleOpen() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	keys, err := softkeys.Open(softkeys.File(filepath.Join(dir, "master.key")))
	if err != nil {
		log.Fatal(err)
	}
	defer keys.Close()
	info, err := keys.Info(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("in a TPM:", info.Hardware)

	key, err := keys.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256})
	if err != nil {
		log.Fatal(err)
	}
	// The blob is all that is kept of the key; it opens under the same file alone.
	again, err := keys.OpenKey(ctx, key.Blob())
	if err != nil {
		log.Fatal(err)
	}
	digest := sha256.Sum256([]byte("a request"))
	sig, err := again.(tpm.Signer).SignContext(ctx, digest[:], crypto.SHA256)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("signed:", ecdsa.VerifyASN1(key.Public().(*ecdsa.PublicKey), digest[:], sig))
	// Output:
	// in a TPM: false
	// signed: true
}

// A passphrase instead of a file: without it the files are of no use, and a
// wrong one is told at once.
func ExamplePassphrase() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "master.key")

	keys, err := softkeys.Open(softkeys.Passphrase(path, []byte("correct horse battery staple")))
	if err != nil {
		log.Fatal(err)
	}
	if err := keys.Close(); err != nil {
		log.Fatal(err)
	}
	_, err = softkeys.Open(softkeys.Passphrase(path, []byte("wrong")))
	fmt.Println(errors.Is(err, softkeys.ErrPassphrase))
	// Output: true
}
