package tpm

import (
	"bytes"
	"context"
	"errors"

	"github.com/prtbroker/prtbroker/internal/secret"
	"github.com/prtbroker/prtbroker/tpm/internal/envelope"
)

// pinSigner is a signer with a PIN; see [PINKey].
type pinSigner struct{ *signer }

var _ PINKey = (*pinSigner)(nil)

var errEmptyPIN = errors.New("tpm: the PIN is empty")

// ChangePIN is Load, ObjectChangeAuth and Flush, and two commands more if the
// storage root key is a transient primary. Both PINs stay off the bus: the old
// one is proved, and the auth value made from the new one is encrypted.
func (k *pinSigner) ChangePIN(ctx context.Context, pin []byte) ([]byte, error) {
	if len(pin) == 0 {
		return nil, errEmptyPIN
	}
	b, value, err := k.auth()
	if err != nil {
		return nil, failed("changing a PIN", err)
	}
	salt, err := newSalt()
	if err != nil {
		return nil, failed("changing a PIN", err)
	}
	next := k.t.pinAuth(pin, salt)
	private, err := do(ctx, k.t.keys, func() ([]byte, error) { return k.reauth(b, value, next) }, value, next)
	if err != nil {
		return nil, failed("changing a PIN", err)
	}
	changed := *b
	changed.private, changed.salt = private, salt
	return k.become(&changed, bytes.Clone(pin)), nil
}

// reauth returns the private area of b under another auth value.
func (k *key) reauth(b *keyBlob, value, next []byte) (private []byte, err error) {
	sp := k.t.keys
	err = k.t.underParentOf(sp, b, func(_ *storageKey, parent object) error {
		loaded, err := sp.load(parent, b)
		if err != nil {
			return err
		}
		private, err = k.t.changeAuth(sp, b, parent, loaded, value, next)
		return err
	})
	return private, err
}

// become switches to another blob and takes ownership of its PIN. A key that
// was closed in the meantime stays closed.
func (k *key) become(b *keyBlob, pin []byte) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.b, k.blob = b, b.marshal(envelope.Key)
	k.pin.Clear()
	if k.closed {
		clear(pin)
	} else {
		k.pin = secret.New(pin)
	}
	return bytes.Clone(k.blob)
}
