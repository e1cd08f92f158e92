package broker_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

// pool makes each kind of software key once, because an RSA key takes its time
// and tests want many machines. Tests about keys take softwareKeys or
// softwareTPM.
type pool struct {
	tpm.KeyStore

	mu    sync.Mutex // guards blobs; held while a key is made, so that it is made once
	blobs map[keyKind][]byte
}

// keyKind says which keys may be one. A test's second key under a PIN is
// another key than its first, as a second Hello key must be; keys without a
// PIN are one in all tests.
type keyKind struct {
	purpose   tpm.Purpose
	algorithm tpm.Algorithm
	pin       string
	nth       int
}

// pooled is the pool as one test sees it.
type pooled struct {
	*pool

	mu   sync.Mutex // guards made
	made map[keyKind]int
}

var shared struct {
	once sync.Once
	pool *pool
	dir  string
	err  error
}

func pooledKeys(t testing.TB) tpm.KeyStore {
	t.Helper()
	shared.once.Do(func() {
		dir, err := os.MkdirTemp("", "prtbroker-keys-")
		if err != nil {
			shared.err = err
			return
		}
		shared.dir = dir
		s, err := softkeys.Open(softkeys.File(filepath.Join(dir, "master")), softkeys.InsecureFastPINs())
		shared.pool, shared.err = &pool{KeyStore: s, blobs: map[keyKind][]byte{}}, err
	})
	require.NoError(t, shared.err)
	return &pooled{pool: shared.pool, made: map[keyKind]int{}}
}

// clone is the pool as a test sees it that goes on from here.
func (p *pooled) clone() *pooled {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &pooled{pool: p.pool, made: maps.Clone(p.made)}
}

func (p *pooled) GenerateKey(ctx context.Context, spec tpm.KeySpec) (tpm.Key, error) {
	kind := keyKind{purpose: spec.Purpose, algorithm: spec.Algorithm, pin: string(spec.PIN)}
	if spec.PIN != nil {
		p.mu.Lock()
		p.made[kind]++
		nth := p.made[kind]
		p.mu.Unlock()
		kind.nth = nth
	}
	return p.pool.generate(ctx, kind, spec)
}

func (p *pool) generate(ctx context.Context, kind keyKind, spec tpm.KeySpec) (tpm.Key, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if blob := p.blobs[kind]; blob != nil {
		return p.OpenKey(ctx, blob, tpm.WithPIN(spec.PIN))
	}
	k, err := p.KeyStore.GenerateKey(ctx, spec)
	if err == nil {
		p.blobs[kind] = k.Blob()
	}
	return k, err
}

// Close leaves the pool to the other tests.
func (p *pool) Close() error { return nil }

func removePool() {
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir)
	}
}
