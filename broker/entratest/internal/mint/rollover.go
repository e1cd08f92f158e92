package mint

import (
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/testkeys"
)

// A signer is a signing key of tokens with its self-signed certificate.
type signer struct {
	generation int
	key        *testkeys.Key
	cert       []byte // DER
	kid        string // also x5t: base64url of the SHA-1 of cert
	header     string // of a signed JWT, base64url with its dot
}

func newSigner(generation int, key *testkeys.Key) *signer {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(generation) + 1),
		Subject:      pkix.Name{CommonName: "accounts.accesscontrol.windows.net"},
		NotBefore:    time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic("entratest: " + err.Error()) // a fixed template and key
	}
	sum := sha1.Sum(der) // x5t is SHA-1 by definition (RFC 7515, 4.1.7)
	kid := base64.RawURLEncoding.EncodeToString(sum[:])
	return &signer{generation, key, der, kid, jwtHeader(fmt.Sprintf(`{"alg":"RS256","kid":%q,"typ":"JWT","x5t":%q}`, kid, kid))}
}

// signerOf returns the signer of a generation: 0 is that of a new server.
func (k *Keys) signerOf(generation int) *signer {
	switch generation {
	case 0:
		return k.first
	case 1:
		return secondSigner()
	}
	return newSigner(generation, testkeys.LaterTokenSigning(generation))
}

// A ring is one state of the signing keys: those that are published, oldest first, and
// the one that signs. A new server publishes two, since there is always more than one
// (Microsoft, "Signing key rollover in the Microsoft identity platform").
type ring struct {
	published []*signer
	used      int // index in published
}

func (r *ring) current() *signer { return r.published[r.used] }

func (r *ring) find(kid string) *signer {
	for _, s := range r.published {
		if s.kid == kid {
			return s
		}
	}
	return nil
}

// Generations says which signing keys a server has: it publishes those from First to
// Last, and signs with Used. The zero value stands for a new server.
type Generations struct{ First, Used, Last int }

// Generations returns the state of the signing keys.
func (k *Keys) Generations() Generations {
	r := k.ring.Load()
	return Generations{r.published[0].generation, r.current().generation, r.published[len(r.published)-1].generation}
}

// maxPublished bounds how many keys are published at once.
const maxPublished = 16

// Restore continues with the keys of an earlier server.
func (k *Keys) Restore(g Generations) error {
	if g == (Generations{}) {
		return nil
	}
	if g.First < 0 || g.Used < g.First || g.Last < g.Used || g.Last > g.Used+1 || g.Last-g.First >= maxPublished {
		return errors.New("the signing keys contradict each other")
	}
	r := &ring{used: g.Used - g.First}
	for n := g.First; n <= g.Last; n++ {
		r.published = append(r.published, k.signerOf(n))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ring.Store(r)
	return nil
}

// PublishNext publishes the next signing key ahead of its use, unless it is published.
func (k *Keys) PublishNext() error {
	return k.change(func(r *ring) error { return k.publishNext(r) })
}

// UseNext signs with the next key, and publishes it now if it was not published ahead.
// The former key stays published.
func (k *Keys) UseNext() error {
	return k.change(func(r *ring) error {
		err := k.publishNext(r)
		r.used = len(r.published) - 1
		return err
	})
}

// DropFormer publishes former keys no longer.
func (k *Keys) DropFormer() {
	_ = k.change(func(r *ring) error { // which does not fail
		r.published, r.used = r.published[r.used:], 0
		return nil
	})
}

func (k *Keys) publishNext(r *ring) error {
	if r.used < len(r.published)-1 {
		return nil
	}
	if len(r.published) == maxPublished {
		return fmt.Errorf("%d signing keys are published; drop the former ones first", maxPublished)
	}
	r.published = append(r.published, k.signerOf(r.current().generation+1))
	return nil
}

func (k *Keys) change(do func(*ring) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := *k.ring.Load()
	r.published = slices.Clone(r.published)
	if err := do(&r); err != nil {
		return err
	}
	k.ring.Store(&r)
	return nil
}

// SigningKey is a published signing key.
type SigningKey struct{ ID, Use string }

// Published lists the published keys, oldest first. Use is former, current or next.
func (k *Keys) Published() []SigningKey {
	r := k.ring.Load()
	var out []SigningKey
	for i, s := range r.published {
		use := "current"
		if i < r.used {
			use = "former"
		} else if i > r.used {
			use = "next"
		}
		out = append(out, SigningKey{s.kid, use})
	}
	return out
}
