package tpm_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/prtbroker/prtbroker/tpm"
)

// The test binary also is the helper processes of its tests.
const (
	bridgeEnv = "PRTBROKER_TEST_BRIDGE" // a socket: stand between a TSS and a software TPM
	wrapEnv   = "PRTBROKER_TEST_WRAP"   // a modulus: wrap a random session key to it
	fipsEnv   = "PRTBROKER_TEST_FIPS"   // a socket: use the TPM there
)

func TestMain(m *testing.M) {
	var err error
	switch {
	case os.Getenv(bridgeEnv) != "":
		err = bridge(os.Getenv(bridgeEnv))
	case os.Getenv(wrapEnv) != "":
		err = wrapTo(os.Getenv(wrapEnv))
	case os.Getenv(fipsEnv) != "":
		err = useTPM(os.Getenv(fipsEnv))
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func bridge(socket string) error {
	c, err := tpm.Swtpm(socket).Open(context.Background())
	if err != nil {
		return err
	}
	conn := c.(net.Conn)
	go func() { _, _ = io.Copy(os.Stdout, conn) }()
	_, err = io.Copy(conn, os.Stdin)
	return err
}

func wrapTo(modulus string) error {
	n, ok := new(big.Int).SetString(modulus, 16)
	if !ok {
		return fmt.Errorf("no modulus: %s", modulus)
	}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return err
	}
	wrapped, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, &rsa.PublicKey{N: n, E: 65537}, secret, nil)
	if err != nil {
		return err
	}
	_, err = fmt.Printf("%x %x\n", masked(secret), wrapped)
	return err
}

// mask keeps a test's own copy of a secret from being found.
const mask = 0x5a

func masked(b []byte) []byte {
	out := make([]byte, len(b))
	for i := range b {
		out[i] = b[i] ^ mask
	}
	return out
}

func useTPM(socket string) error {
	ctx := context.Background()
	s, err := tpm.Open(ctx, tpm.Swtpm(socket), tpm.Config{})
	if err != nil {
		return err
	}
	defer s.Close()
	k, err := s.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Sign, PIN: []byte("271828")})
	if err != nil {
		return err
	}
	if _, err := k.(tpm.Signer).Sign(nil, make([]byte, 32), crypto.SHA256); err != nil {
		return err
	}
	sealed, err := s.Seal(ctx, plaintext, aad)
	if err != nil {
		return err
	}
	if _, err := s.Unseal(ctx, sealed, aad); err != nil {
		return err
	}
	blob, err := base64.StdEncoding.DecodeString(os.Getenv(fipsEnv + "_SESSION"))
	if err != nil {
		return err
	}
	sk, err := s.OpenSession(ctx, blob)
	if err != nil {
		return err
	}
	if _, err = sk.Derive(ctx, nil, nil); err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	return useShortSecrets(ctx, socket)
}

// useShortSecrets uses secrets of less than the 112 bits that strict mode wants of
// the key of an HMAC: of people, of an app and of the owner.
func useShortSecrets(ctx context.Context, socket string) error {
	const owner = "o"
	c, err := tpm.Swtpm(socket).Open(ctx)
	if err != nil {
		return err
	}
	_, err = tpm2.HierarchyChangeAuth{AuthHandle: tpm2.TPMRHOwner, NewAuth: tpm2.TPM2BAuth{Buffer: []byte(owner)}}.Execute(c)
	if err = errors.Join(err, c.Close()); err != nil {
		return err
	}
	s, err := tpm.Open(ctx, tpm.Swtpm(socket), tpm.Config{
		KeyAuth:   []byte("k"),
		OwnerAuth: func(context.Context) ([]byte, error) { return []byte(owner), nil },
	})
	if err != nil {
		return err
	}
	defer s.Close()
	for _, pin := range [][]byte{nil, []byte("1234")} {
		k, err := s.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Sign, PIN: pin})
		if err != nil {
			return err
		}
		if _, err := k.(tpm.Signer).Sign(nil, make([]byte, 32), crypto.SHA256); err != nil {
			return err
		}
	}
	sealed, err := s.Seal(ctx, plaintext, nil)
	if err != nil {
		return err
	}
	if _, err := s.Unseal(ctx, sealed, nil); err != nil {
		return err
	}
	sealed, err = s.SealPIN(ctx, plaintext, nil, []byte("1"), tpm.Limit{Resets: -1, Restarts: -1})
	if err != nil {
		return err
	}
	_, err = s.UnsealPIN(ctx, sealed, nil, []byte("1"))
	return err
}
