package tpmtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/prtbroker/prtbroker/tpm"
)

// A Pool makes software TPMs that have the same seeds, and makes each of their
// RSA keys once: in swtpm a key takes 200 ms, and a test that wants a device
// and a Hello key needs three. All TPMs of a pool can open what one of them
// made. The zero value is ready for use, and one Pool serves a test binary.
type Pool struct {
	saved sync.Once
	state map[string][]byte // files of swtpm, from which each TPM starts
	err   error

	mu    sync.Mutex // guards blobs; held while a key is made, so that it is made once
	blobs map[pooledKey][]byte
}

// pooledKey says which keys are one: the nth key of its kind in any two TPMs.
type pooledKey struct {
	purpose   tpm.Purpose
	algorithm tpm.Algorithm
	pin       string
	nth       int
}

// Swtpm starts swtpm as [Swtpm] does, with the pool's seeds. After
// [Emulator.Wipe] or [Emulator.Clear] it no longer shares them.
func (p *Pool) Swtpm(t testing.TB) *Emulator {
	t.Helper()
	p.saved.Do(func() { p.state, p.err = manufactured(t.Context()) })
	if errors.Is(p.err, ErrNoSwtpm) {
		missing(t, p.err.Error())
	}
	if p.err != nil {
		t.Fatal(p.err)
	}
	e := startSwtpm(t, func(dir string) error { return writeState(dir, p.state) })
	e.keys = &pooledTPM{pool: p, made: map[pooledKey]int{}}
	return e
}

// manufactured returns the state of a new swtpm.
func manufactured(ctx context.Context) (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "swtpm-state")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	e, err := StartSwtpm(ctx, dir)
	if err != nil {
		return nil, err
	}
	// swtpm listens before its TPM is ready; an answer shows that the seeds are
	// written.
	_, err = tpm2.ReadClock{}.Execute(e)
	if err := errors.Join(err, e.Close()); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	state := map[string][]byte{}
	for _, entry := range entries {
		if state[entry.Name()], err = os.ReadFile(filepath.Join(dir, entry.Name())); err != nil {
			return nil, err
		}
	}
	return state, nil
}

func writeState(dir string, state map[string][]byte) error {
	for name, content := range state {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// pooledTPM counts the keys that one TPM was asked for.
type pooledTPM struct {
	pool *Pool

	mu   sync.Mutex // guards made
	made map[pooledKey]int
}

func (p *pooledTPM) next(spec tpm.KeySpec) pooledKey {
	k := pooledKey{purpose: spec.Purpose, algorithm: spec.Algorithm, pin: string(spec.PIN)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made[k]++
	k.nth = p.made[k]
	return k
}

// Store is a TPM whose RSA keys come from a pool.
type Store struct {
	*tpm.TPM
	keys *pooledTPM // nil: it makes its own
}

// Store returns s, which is open on the emulator, with the keys of the pool if
// the emulator is from one.
func (e *Emulator) Store(s *tpm.TPM) *Store { return &Store{s, e.keys} }

// GenerateKey returns a key that another TPM of the pool may have made: a test
// that counts the commands for it should use [tpm.TPM] itself.
func (s *Store) GenerateKey(ctx context.Context, spec tpm.KeySpec) (tpm.Key, error) {
	if s.keys == nil || spec.Algorithm != tpm.RSA2048 {
		return s.TPM.GenerateKey(ctx, spec)
	}
	return s.keys.pool.generate(ctx, s.TPM, s.keys.next(spec), spec)
}

func (p *Pool) generate(ctx context.Context, s *tpm.TPM, kind pooledKey, spec tpm.KeySpec) (tpm.Key, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if blob := p.blobs[kind]; blob != nil {
		return s.OpenKey(ctx, blob, tpm.WithPIN(spec.PIN))
	}
	k, err := s.GenerateKey(ctx, spec)
	if err != nil {
		return nil, err
	}
	if p.blobs == nil {
		p.blobs = map[pooledKey][]byte{}
	}
	p.blobs[kind] = k.Blob()
	return k, nil
}
