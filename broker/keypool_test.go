package broker_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

// pool is a store of software keys that makes each kind of key once, because
// an RSA key takes its time and tests want many machines. Tests about keys
// take softwareKeys or softwareTPM.
type pool struct {
	tpm.KeyStore

	mu    sync.Mutex // guards blobs
	blobs map[[2]uint8][]byte
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
		s, err := softkeys.Open(softkeys.File(filepath.Join(dir, "master")))
		shared.pool, shared.err = &pool{KeyStore: s, blobs: map[[2]uint8][]byte{}}, err
	})
	require.NoError(t, shared.err)
	return shared.pool
}

func (p *pool) GenerateKey(ctx context.Context, spec tpm.KeySpec) (tpm.Key, error) {
	kind := [2]uint8{uint8(spec.Purpose), uint8(spec.Algorithm)}
	p.mu.Lock()
	defer p.mu.Unlock()
	if blob := p.blobs[kind]; blob != nil && spec.PIN == nil {
		return p.OpenKey(ctx, blob)
	}
	k, err := p.KeyStore.GenerateKey(ctx, spec)
	if err == nil && spec.PIN == nil {
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
