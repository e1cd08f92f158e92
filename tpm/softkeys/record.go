package softkeys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/internal/envelope"
)

const recordSalt = 32

// A record is an envelope of three fields: salt, clear header, ciphertext.
const recordFields = 3

// encrypt makes a record. The header is readable and authenticated; extra is
// authenticated and not in the record.
func (s *Store) encrypt(kind envelope.Kind, header, plaintext, extra []byte) ([]byte, error) {
	salt, err := random(recordSalt)
	if err != nil {
		return nil, err
	}
	key, err := s.recordKey(kind, salt)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return envelope.Marshal(envelope.SoftKeys, kind, salt, header, seal(key, plaintext, aad(header, extra))), nil
}

func (s *Store) decrypt(kind envelope.Kind, blob, extra []byte) (header, plaintext []byte, err error) {
	salt, header, sealed, err := parse(kind, blob)
	if err != nil {
		return nil, nil, err
	}
	key, err := s.recordKey(kind, salt)
	if err != nil {
		return nil, nil, err
	}
	defer clear(key)
	plaintext, err = open(key, sealed, aad(header, extra))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: it does not open under this master key", tpm.ErrInvalidBlob)
	}
	return header, plaintext, nil
}

func parse(kind envelope.Kind, blob []byte) (salt, header, sealed []byte, err error) {
	if envelope.IsTSS2(blob) {
		return nil, nil, nil, fmt.Errorf("%w: a TSS2 private key", tpm.ErrWrongStore)
	}
	f, err := envelope.Unmarshal(blob, envelope.SoftKeys, kind, recordFields)
	switch {
	case errors.Is(err, envelope.ErrStore):
		return nil, nil, nil, fmt.Errorf("%w: %w", tpm.ErrWrongStore, err)
	case err != nil:
		return nil, nil, nil, fmt.Errorf("%w: %w", tpm.ErrInvalidBlob, err)
	case len(f[0]) != recordSalt:
		return nil, nil, nil, fmt.Errorf("%w: salt size", tpm.ErrInvalidBlob)
	}
	return f[0], f[1], f[2], nil
}

// recordKey derives the key of one record, used for one encryption.
func (s *Store) recordKey(kind envelope.Kind, salt []byte) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.master == nil {
		return nil, tpm.ErrClosed
	}
	info := fmt.Sprintf("prtbroker softkeys %d kind %d", envelope.Version, kind)
	return hkdf.Key(sha256.New, s.master, salt, info, 32)
}

// aad joins two byte strings so that they cannot be shifted into each other.
func aad(a, b []byte) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(a)))
	return append(append(out, a...), b...)
}

func seal(key, plaintext, aad []byte) []byte {
	return gcm(key).Seal(nil, nil, plaintext, aad)
}

func open(key, sealed, aad []byte) ([]byte, error) {
	return gcm(key).Open(nil, nil, sealed, aad)
}

// gcm puts the nonce it draws before the ciphertext.
func gcm(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("softkeys: " + err.Error()) // the key has 32 bytes
	}
	a, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("softkeys: " + err.Error()) // AES has the block size GCM needs
	}
	return a
}
