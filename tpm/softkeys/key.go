package softkeys

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/prtbroker/prtbroker/internal/kdf"
	"github.com/prtbroker/prtbroker/internal/secret"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/internal/envelope"
	"github.com/prtbroker/prtbroker/tpm/internal/signing"
)

// key is an asymmetric key. Its header is one byte for the purpose, one for
// whether there is a PIN, and the public key in PKIX form.
type key struct {
	s       *Store
	header  []byte
	public  crypto.PublicKey
	purpose tpm.Purpose
	hasPIN  bool

	mu      sync.Mutex // guards what follows; held during Argon2id on purpose
	blob    []byte
	pin     secret.Value
	private crypto.Signer
	closed  bool
}

type signer struct{ *key }

const headerSize = 2

// GenerateKey makes a key in memory and encrypts it.
func (s *Store) GenerateKey(ctx context.Context, spec tpm.KeySpec) (tpm.Key, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	if err := spec.Check(); err != nil {
		return nil, err
	}
	pin := bytes.Clone(spec.PIN)
	return bounded(ctx, func() (tpm.Key, error) {
		k, err := s.generate(spec.Purpose, spec.Algorithm, pin)
		if err != nil {
			return nil, fmt.Errorf("softkeys: generating a key: %w", err)
		}
		return k, nil
	})
}

// bounded runs f, but returns when ctx ends; making an RSA key takes 60 to 200
// ms and Argon2id 150.
func bounded[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	ch := make(chan result, 1)
	go func() {
		v, err := f()
		ch <- result{v, err}
	}()
	select {
	case r := <-ch:
		return r.v, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

func (s *Store) generate(purpose tpm.Purpose, alg tpm.Algorithm, pin []byte) (tpm.Key, error) {
	var private crypto.Signer
	var err error
	if alg == tpm.P256 {
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		return nil, err
	}
	return s.encryptKey(purpose, private, pin)
}

// ImportKey implements [tpm.Importer]: the key is encrypted and used like one
// made by [Store.GenerateKey].
func (s *Store) ImportKey(ctx context.Context, spec tpm.KeySpec, private crypto.PrivateKey) (tpm.Key, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	if err := spec.CheckImport(private); err != nil {
		return nil, err
	}
	pin := bytes.Clone(spec.PIN)
	return bounded(ctx, func() (tpm.Key, error) {
		k, err := s.encryptKey(spec.Purpose, private.(crypto.Signer), pin) // both kinds sign
		if err != nil {
			return nil, fmt.Errorf("softkeys: importing a key: %w", err)
		}
		return k, nil
	})
}

func (s *Store) encryptKey(purpose tpm.Purpose, private crypto.Signer, pin []byte) (tpm.Key, error) {
	public, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return nil, err
	}
	header := append([]byte{byte(purpose), 0}, public...)
	plaintext, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	defer clear(plaintext)
	record := plaintext
	if pin != nil {
		header[1] = 1
		if record, err = s.cost.lock(pin, plaintext, header); err != nil {
			return nil, err
		}
	}
	blob, err := s.encrypt(envelope.Key, header, record, nil)
	if err != nil {
		return nil, err
	}
	k := &key{s: s, header: header, blob: blob, public: private.Public(), purpose: purpose, hasPIN: pin != nil, pin: secret.New(pin), private: private}
	return k.typed(), nil
}

func (k *key) typed() tpm.Key {
	switch {
	case k.purpose == tpm.Sign && k.hasPIN:
		return &pinSigner{&signer{k}}
	case k.purpose == tpm.Sign:
		return &signer{k}
	}
	return k
}

// OpenKey opens a key made by [Store.GenerateKey]. As with a TPM, a wrong PIN
// is reported at first use.
func (s *Store) OpenKey(ctx context.Context, blob []byte, opts ...tpm.OpenOption) (tpm.Key, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	header, plaintext, err := s.decrypt(envelope.Key, blob, nil)
	if err != nil {
		return nil, fmt.Errorf("softkeys: opening a key: %w", err)
	}
	defer clear(plaintext)
	k := &key{s: s, blob: bytes.Clone(blob)}
	if err := k.parseHeader(header); err != nil {
		return nil, fmt.Errorf("softkeys: opening a key: %w", err)
	}
	for _, o := range opts {
		if o.PIN != nil {
			k.pin = secret.New(bytes.Clone(o.PIN))
		}
	}
	if !k.hasPIN {
		if k.private, err = parsePrivate(plaintext); err != nil {
			return nil, fmt.Errorf("softkeys: opening a key: %w", err)
		}
	}
	return k.typed(), nil
}

func (k *key) parseHeader(header []byte) error {
	if len(header) < headerSize {
		return fmt.Errorf("%w: header", tpm.ErrInvalidBlob)
	}
	k.header = bytes.Clone(header)
	k.purpose, k.hasPIN = tpm.Purpose(header[0]), header[1] == 1
	if k.purpose != tpm.Sign && k.purpose != tpm.Unwrap {
		return fmt.Errorf("%w: purpose", tpm.ErrInvalidBlob)
	}
	var err error
	if k.public, err = x509.ParsePKIXPublicKey(header[headerSize:]); err != nil {
		return fmt.Errorf("%w: public key: %w", tpm.ErrInvalidBlob, err)
	}
	return nil
}

func parsePrivate(der []byte) (crypto.Signer, error) {
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%w: private key", tpm.ErrInvalidBlob)
	}
	s, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: private key", tpm.ErrInvalidBlob)
	}
	return s, nil
}

// unlocked returns the private key, which it may have to open with the PIN.
func (k *key) unlocked() (crypto.Signer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, tpm.ErrClosed
	}
	if k.private != nil {
		return k.private, nil
	}
	if k.pin.IsZero() {
		return nil, fmt.Errorf("%w: the key needs WithPIN", tpm.ErrWrongPIN)
	}
	header, locked, err := k.s.decrypt(envelope.Key, k.blob, nil)
	if err != nil {
		return nil, err
	}
	plaintext, err := unlock(k.pin.Bytes(), locked, header)
	if errors.Is(err, errSecret) {
		return nil, &tpm.WrongPINError{TriesLeft: -1}
	}
	if err != nil {
		return nil, err
	}
	defer clear(plaintext)
	k.private, err = parsePrivate(plaintext)
	return k.private, err
}

func (k *key) Public() crypto.PublicKey { return k.public }

func (k *key) Blob() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return bytes.Clone(k.blob)
}

func (k *key) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pin.Clear()
	k.private, k.closed = nil, true
	return nil
}

// Sign implements [crypto.Signer].
func (k *signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.SignContext(context.Background(), digest, opts)
}

// SignContext signs as a TPM does: the same hashes, and PSS with a salt as long
// as the hash.
func (k *signer) SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := k.s.ready(ctx); err != nil {
		return nil, err
	}
	if err := signing.Check(digest, opts); err != nil {
		return nil, err
	}
	if pss, ok := opts.(*rsa.PSSOptions); ok {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: pss.Hash}
	}
	digest = bytes.Clone(digest)
	return bounded(ctx, func() ([]byte, error) {
		private, err := k.unlocked()
		if err != nil {
			return nil, fmt.Errorf("softkeys: signing: %w", err)
		}
		return private.Sign(rand.Reader, digest, opts)
	})
}

// UnwrapSession decrypts wrapped and encrypts the session key at rest.
func (s *Store) UnwrapSession(ctx context.Context, transport tpm.Key, wrapped []byte) (tpm.SessionKey, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	k, ok := transport.(*key)
	if !ok || k.s != s {
		return nil, fmt.Errorf("softkeys: unwrapping: %w: not a transport key of this store", tpm.ErrPurpose)
	}
	private, err := k.unlocked()
	if err != nil {
		return nil, fmt.Errorf("softkeys: unwrapping: %w", err)
	}
	r, ok := private.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("softkeys: unwrapping: %w", tpm.ErrPurpose)
	}
	plain, err := rsa.DecryptOAEP(sha1.New(), nil, r, wrapped, nil)
	defer clear(plain)
	if err != nil || len(plain) != kdf.KeySize {
		return nil, fmt.Errorf("softkeys: unwrapping: %w", tpm.ErrDecrypt)
	}
	blob, err := s.encrypt(envelope.Session, nil, plain, nil)
	if err != nil {
		return nil, fmt.Errorf("softkeys: unwrapping: %w", err)
	}
	return &sessionKey{s: s, blob: blob}, nil
}
