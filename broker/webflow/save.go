package webflow

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/prtbroker/prtbroker/broker"
)

// A Sealer protects a small secret on this machine. Every tpm.KeyStore is one.
type Sealer interface {
	Seal(ctx context.Context, plaintext, aad []byte) ([]byte, error)
	Unseal(ctx context.Context, sealed, aad []byte) ([]byte, error)
}

// sealedAs binds what is sealed to this format of this package.
var sealedAs = []byte("prtbroker webflow 1")

// A saved is the stored form of a flow.
type saved struct {
	At      place
	Cookies []cookie
}

// Save returns the state of the flow, for [Resume] in another process on this
// machine. The state is a partly completed sign-in, so it is encrypted with
// AES-256-GCM under a key that keys seals. It contains no password. Save a flow
// while it waits for an answer; the service forgets it after some minutes.
func (f *Flow) Save(ctx context.Context, keys Sealer) (out []byte, err error) {
	_, err = f.step(ctx, func(ctx context.Context) error {
		if k := f.at.Challenge.Kind; k == "" || k == Done {
			return f.misused("only a flow that is waiting for an answer can be saved")
		}
		plain, err := json.Marshal(saved{f.at, f.web.kept})
		if err != nil {
			return err
		}
		defer clear(plain)
		out, err = seal(ctx, keys, plain)
		return err
	})
	return out, err
}

// Resume continues a saved flow and returns the challenge that it is waiting for.
// It only uses the options Transport, Credentials, Record, Wait and Now. Two
// resumed copies of one flow interfere with each other at the service.
func Resume(ctx context.Context, data []byte, keys Sealer, o Options) (*Flow, Challenge, error) {
	plain, err := unseal(ctx, keys, data)
	if err != nil {
		return nil, Challenge{}, fmt.Errorf("webflow: the saved flow cannot be opened: %w", err)
	}
	defer clear(plain)
	var s saved
	if err := json.Unmarshal(plain, &s); err != nil {
		return nil, Challenge{}, errors.New("webflow: the saved flow was written by another version")
	}
	o.Cloud = broker.Cloud{LoginHost: s.At.Login}
	f := newFlow(o.withDefaults(), s.At.Prefix)
	f.at = s.At
	f.web = f.visitor(o.withDefaults())
	f.web.restore(s.Cookies)
	if u, err := url.Parse(s.At.Federation); err == nil {
		f.web.federation = strings.ToLower(u.Host)
	}
	return f, f.at.Challenge, nil
}

const keySize = 32

// seal encrypts data of any size under a fresh key, which keys seals.
func seal(ctx context.Context, keys Sealer, plain []byte) ([]byte, error) {
	key := make([]byte, keySize)
	defer clear(key)
	_, _ = rand.Read(key) // it never fails
	wrapped, err := keys.Seal(ctx, key, sealedAs)
	if err != nil {
		return nil, fmt.Errorf("webflow: sealing the flow: %w", err)
	}
	g, err := gcm(key)
	if err != nil {
		return nil, err
	}
	// The key is used once, so the nonce may be constant.
	return json.Marshal([2][]byte{wrapped, g.Seal(nil, make([]byte, g.NonceSize()), plain, sealedAs)})
}

func unseal(ctx context.Context, keys Sealer, data []byte) ([]byte, error) {
	var parts [2][]byte
	if err := json.Unmarshal(data, &parts); err != nil {
		return nil, errors.New("it is damaged")
	}
	key, err := keys.Unseal(ctx, parts[0], sealedAs)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	g, err := gcm(key)
	if err != nil {
		return nil, err
	}
	plain, err := g.Open(nil, make([]byte, g.NonceSize()), parts[1], sealedAs)
	if err != nil {
		return nil, errors.New("it is damaged")
	}
	return plain, nil
}

func gcm(key []byte) (cipher.AEAD, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}
