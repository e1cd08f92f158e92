package tpm_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"testing"

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
	_, err = sk.Derive(ctx, nil, nil)
	return err
}
