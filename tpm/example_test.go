package tpm_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// exampleStore is a store over a software TPM where there is one, so that the
// examples run everywhere.
func exampleStore(ctx context.Context) (keys tpm.KeyStore, end func()) {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	end = func() { _ = os.RemoveAll(dir) }
	sw, err := tpmtest.StartSwtpm(ctx, dir)
	if errors.Is(err, tpmtest.ErrNoSwtpm) {
		keys, err = softkeys.Open(softkeys.File(dir + "/master.key"))
	} else if err == nil {
		end = func() { _ = errors.Join(sw.Close(), os.RemoveAll(dir)) }
		keys, err = tpm.Open(ctx, sw.Opener(), tpm.Config{})
	}
	if err != nil {
		log.Fatal(err)
	}
	return keys, end
}

// The code of the package documentation.
func Example() {
	digest := sha256.Sum256([]byte("a request"))
	err := deviceSignature(context.Background(), digest[:])
	fmt.Println(err == nil || errors.Is(err, tpm.ErrNoTPM))
	// Output: true
}

func deviceSignature(ctx context.Context, digest []byte) error {
	keys, err := tpm.Open(ctx, tpm.Default(), tpm.Config{})
	if err != nil {
		return err
	}
	defer keys.Close()
	device, err := keys.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Sign})
	if err != nil {
		return err
	}
	signature, err := device.(tpm.Signer).SignContext(ctx, digest, crypto.SHA256)
	if err != nil {
		return err
	}
	log.Printf("a signature of %d bytes", len(signature))
	return nil
}

// A program opens the machine's TPM. Software keys in its place are a decision
// of the program's, which nothing here takes by itself.
func ExampleOpen() {
	ctx := context.Background()
	keys, err := tpm.Open(ctx, tpm.Default(), tpm.Config{})
	if errors.Is(err, tpm.ErrNoTPM) {
		// The error says what is missing: the device, or the group tss.
		fmt.Println("no TPM for this process")
		return
	}
	if err != nil {
		log.Fatal(err)
	}
	defer keys.Close()
	info, err := keys.Info(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(info.Manufacturer, info.Model)
}

// A device key signs. Its blob is all that is kept of it, and opens only in
// the TPM that made it.
func ExampleSigner() {
	ctx := context.Background()
	keys, end := exampleStore(ctx)
	defer end()
	defer keys.Close()

	device, err := keys.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Sign})
	if err != nil {
		log.Fatal(err)
	}
	again, err := keys.OpenKey(ctx, device.Blob())
	if err != nil {
		log.Fatal(err)
	}
	digest := sha256.Sum256([]byte("a request"))
	sig, err := again.(tpm.Signer).SignContext(ctx, digest[:], crypto.SHA256)
	if err != nil {
		log.Fatal(err)
	}
	err = rsa.VerifyPKCS1v15(device.Public().(*rsa.PublicKey), crypto.SHA256, digest[:], sig)
	fmt.Println("verified:", err == nil)
	// Output: verified: true
}

// The service encrypts a session key to the transport key. It goes into the
// TPM, and only keys derived from it come out.
func ExampleKeyStore_unwrapSession() {
	ctx := context.Background()
	keys, end := exampleStore(ctx)
	defer end()
	defer keys.Close()

	transport, err := keys.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Unwrap})
	if err != nil {
		log.Fatal(err)
	}

	// The service's side.
	sessionKey := make([]byte, 32)
	wrapped, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, transport.Public().(*rsa.PublicKey), sessionKey, nil)
	if err != nil {
		log.Fatal(err)
	}

	session, err := keys.UnwrapSession(ctx, transport, wrapped)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	derived, err := session.Derive(ctx, []byte("AzureAD-SecureConversation"), []byte("context"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%x…\n", derived[:8])
	// Output: 2c06a0cc14971bdd…
}

// State is encrypted under a data key that the TPM seals. Unsealed once and
// held, it costs no TPM command to save state.
func ExampleKeyStore_seal() {
	ctx := context.Background()
	keys, end := exampleStore(ctx)
	defer end()
	defer keys.Close()

	sealed, err := keys.Seal(ctx, []byte("a data key of 32 random bytes..."), []byte("account 1"))
	if err != nil {
		log.Fatal(err)
	}
	dataKey, err := keys.Unseal(ctx, sealed, []byte("account 1"))
	fmt.Println(string(dataKey), err)
	_, err = keys.Unseal(ctx, sealed, []byte("account 2"))
	fmt.Println("as another account's:", errors.Is(err, tpm.ErrInvalidBlob))
	// Output:
	// a data key of 32 random bytes... <nil>
	// as another account's: true
}

// A Hello key needs its PIN at every opening; the TPM counts wrong ones.
func ExampleWithPIN() {
	ctx := context.Background()
	keys, end := exampleStore(ctx)
	defer end()
	defer keys.Close()

	hello, err := keys.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256, PIN: []byte("271828")})
	if err != nil {
		log.Fatal(err)
	}
	opened, err := keys.OpenKey(ctx, hello.Blob(), tpm.WithPIN([]byte("000000")))
	if err != nil {
		log.Fatal(err)
	}
	digest := sha256.Sum256(nil)
	_, err = opened.(tpm.Signer).SignContext(ctx, digest[:], crypto.SHA256)
	fmt.Println("wrong PIN:", errors.Is(err, tpm.ErrWrongPIN))
	// Output: wrong PIN: true
}

// A verifier that does not trust the machine has its TPM prove a key. The
// challenge binds the attestation key to the endorsement key once.
func ExampleVerifyAttestation() {
	ctx := context.Background()
	keys, end := exampleStore(ctx)
	defer end()
	defer keys.Close()
	attester, ok := keys.(tpm.Attester)
	if !ok {
		fmt.Println("attested: an *rsa.PublicKey") // software keys prove nothing
		return
	}

	// The machine sends its identity, the verifier a challenge.
	id, err := attester.Identity(ctx)
	if err != nil {
		log.Fatal(err)
	}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		log.Fatal(err)
	}
	challenge, err := tpm.MakeCredential(id, secret)
	if err != nil {
		log.Fatal(err)
	}
	answer, err := attester.ActivateCredential(ctx, challenge)
	if err != nil || string(answer) != string(secret) {
		log.Fatal("not that TPM: ", err)
	}

	// The verifier asks for a key with a nonce of its own.
	nonce := []byte("drawn by the verifier")
	device, err := keys.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Sign})
	if err != nil {
		log.Fatal(err)
	}
	attestation, err := attester.Attest(ctx, device, nonce)
	if err != nil {
		log.Fatal(err)
	}
	key, err := tpm.VerifyAttestation(attestation, tpm.Verification{Nonce: nonce, AKName: id.AKName()})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("attested: an %T\n", key)
	// Output: attested: an *rsa.PublicKey
}

// A user who is offline unlocks with a PIN, for three days of use and ten
// boots. The PIN can be changed meanwhile; the time stays.
func ExamplePINSealer() {
	ctx := context.Background()
	keys, end := exampleStore(ctx)
	defer end()
	defer keys.Close()
	sealer, ok := keys.(tpm.PINSealer)
	if !ok {
		fmt.Println("offline unlock: true\nanother record's: true") // software counts nothing
		return
	}

	secret, record := []byte("what unlocks the session"), []byte("account 1")
	limit := tpm.Limit{Time: 72 * time.Hour, Resets: 10, Restarts: 50}
	sealed, err := sealer.SealPIN(ctx, secret, record, []byte("271828"), limit)
	if err != nil {
		log.Fatal(err)
	}
	sealed, err = sealer.ChangeSealPIN(ctx, sealed, record, []byte("271828"), []byte("161803"))
	if err != nil {
		log.Fatal(err)
	}
	got, err := sealer.UnsealPIN(ctx, sealed, record, []byte("161803"))
	if err != nil {
		log.Fatal(err) // ErrExpired, ErrWrongPIN with the tries left, …
	}
	left, err := sealer.Left(ctx, sealed, record)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("offline unlock:", string(got) == string(secret) && left.Time <= limit.Time)
	_, err = sealer.UnsealPIN(ctx, sealed, []byte("account 2"), []byte("161803"))
	fmt.Println("another record's:", errors.Is(err, tpm.ErrInvalidBlob))
	// Output:
	// offline unlock: true
	// another record's: true
}

// A Hello key keeps its public key, which the service knows, when the user
// chooses another PIN.
func ExamplePINKey() {
	ctx := context.Background()
	keys, end := exampleStore(ctx)
	defer end()
	defer keys.Close()

	hello, err := keys.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256, PIN: []byte("271828")})
	if err != nil {
		log.Fatal(err)
	}
	blob, err := hello.(tpm.PINKey).ChangePIN(ctx, []byte("161803"))
	if err != nil {
		log.Fatal(err)
	}
	again, err := keys.OpenKey(ctx, blob, tpm.WithPIN([]byte("161803")))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the same key:", hello.Public().(*ecdsa.PublicKey).Equal(again.Public()))
	// Output: the same key: true
}
