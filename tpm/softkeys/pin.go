package softkeys

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/prtbroker/prtbroker/internal/secret"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/internal/envelope"
)

// pinSigner is a signer with a PIN.
type pinSigner struct{ *signer }

var _ tpm.PINKey = (*pinSigner)(nil)

// ChangePIN encrypts the same key under another PIN, which costs Argon2id once,
// or twice if the key was not used before.
func (k *pinSigner) ChangePIN(ctx context.Context, pin []byte) ([]byte, error) {
	if err := k.s.ready(ctx); err != nil {
		return nil, err
	}
	if len(pin) == 0 {
		return nil, errors.New("softkeys: the PIN is empty")
	}
	pin = bytes.Clone(pin)
	blob, err := bounded(ctx, func() ([]byte, error) { return k.relocked(pin) })
	if err != nil {
		if ctx.Err() != nil {
			return nil, err // relocked may still be using the PIN
		}
		clear(pin)
		return nil, fmt.Errorf("softkeys: changing a PIN: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.blob = blob
	k.pin.Clear()
	if k.closed {
		clear(pin)
	} else {
		k.pin = secret.New(pin)
	}
	return bytes.Clone(blob), nil
}

// relocked returns the key under another PIN and changes nothing.
func (k *key) relocked(pin []byte) ([]byte, error) {
	private, err := k.unlocked()
	if err != nil {
		return nil, err
	}
	plaintext, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	defer clear(plaintext)
	locked, err := k.s.cost.lock(pin, plaintext, k.header)
	if err != nil {
		return nil, err
	}
	return k.s.encrypt(envelope.Key, k.header, locked, nil)
}
