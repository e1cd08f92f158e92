package tpm_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/kdf"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// raw gives a test the bare TPM, while no store is open: swtpm serves one
// client at a time.
func raw(t testing.TB, o tpm.Opener, use func(transport.TPM)) {
	t.Helper()
	c, err := o.Open(t.Context())
	require.NoError(t, err)
	defer c.Close()
	use(c)
}

const srkHandle = tpm2.TPMHandle(0x81000001)

// provision makes a persistent primary of the owner, as an operating system does.
func provision(t testing.TB, o tpm.Opener, handle tpm2.TPMHandle, template tpm2.TPMTPublic, auth []byte) {
	t.Helper()
	raw(t, o, func(c transport.TPM) { persist(t, c, tpm2.TPMRHOwner, handle, template, auth) })
}

// persist makes a persistent primary of a hierarchy and returns its public area.
func persist(t testing.TB, c transport.TPM, hierarchy, handle tpm2.TPMHandle, template tpm2.TPMTPublic, auth []byte) []byte {
	t.Helper()
	rsp, err := tpm2.CreatePrimary{
		PrimaryHandle: hierarchy,
		InPublic:      tpm2.New2B(template),
		InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{
			UserAuth: tpm2.TPM2BAuth{Buffer: auth},
			Data:     tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{}),
		}},
	}.Execute(c)
	require.NoError(t, err)
	_, err = tpm2.EvictControl{
		Auth:             tpm2.TPMRHOwner,
		ObjectHandle:     &tpm2.NamedHandle{Handle: rsp.ObjectHandle, Name: rsp.Name},
		PersistentHandle: handle,
	}.Execute(c)
	require.NoError(t, err)
	_, err = tpm2.FlushContext{FlushHandle: rsp.ObjectHandle}.Execute(c)
	require.NoError(t, err)
	return rsp.OutPublic.Bytes()
}

// loaded returns how many transient objects and sessions the TPM holds.
func loaded(t testing.TB, o tpm.Opener) (n int) {
	t.Helper()
	raw(t, o, func(c transport.TPM) {
		for _, first := range []uint32{0x80000000, 0x02000000, 0x03000000} {
			rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: first, PropertyCount: 16}.Execute(c)
			require.NoError(t, err)
			handles, err := rsp.CapabilityData.Data.Handles()
			require.NoError(t, err)
			n += len(handles.Handle)
		}
	})
	return n
}

// tpms are the swtpms of these tests. They have one storage seed.
var tpms tpmtest.Pool

// ofPool is the blob of a transport key under that seed. An RSA key takes a TPM
// 200 ms, and most tests want one.
var ofPool struct {
	mu   sync.Mutex // guards blob; held while the key is made
	blob []byte
}

// transportKey returns a transport key, the same one in each TPM of the pool.
func transportKey(t testing.TB, s *tpm.TPM) tpm.Key {
	t.Helper()
	k, err := s.OpenKey(t.Context(), poolBlob(t))
	if errors.Is(err, tpm.ErrKeyUnusable) { // the simulator, or a TPM that was cleared
		k, err = s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Unwrap})
	}
	require.NoError(t, err)
	return k
}

func poolBlob(t testing.TB) []byte {
	t.Helper()
	ofPool.mu.Lock()
	defer ofPool.mu.Unlock()
	if ofPool.blob == nil {
		makeTransportKey(t)
	}
	return ofPool.blob
}

// inBubble runs a test in a bubble of synctest. The transport key of the pool is
// made before: a swtpm that was started in the bubble would keep its clock still,
// since a goroutine waits for the process to end.
func inBubble(t *testing.T, run func(*testing.T)) {
	t.Helper()
	poolBlob(t)
	synctest.Test(t, run)
}

func makeTransportKey(t testing.TB) {
	t.Helper()
	s, err := tpm.Open(t.Context(), tpms.Swtpm(t).Opener(), tpm.Config{})
	require.NoError(t, err)
	defer s.Close()
	k, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Unwrap})
	require.NoError(t, err)
	ofPool.blob = k.Blob()
}

// material is what most tests work with.
type material struct {
	store     *tpm.TPM
	device    tpm.Signer
	transport tpm.Key
	secret    []byte
	session   tpm.SessionKey
	sealed    []byte
}

var (
	plaintext = []byte("a data key of thirty-two bytes..")
	aad       = []byte("account")
)

// newMaterial has the pool's transport key, under a transient storage root key.
func newMaterial(t testing.TB, s *tpm.TPM) *material {
	t.Helper()
	return materialWith(t, s, func() tpm.Key { return transportKey(t, s) })
}

// ownMaterial has a transport key that the TPM makes for it: for tests about
// the storage root key, about making keys, and those that count commands.
func ownMaterial(t testing.TB, s *tpm.TPM) *material {
	t.Helper()
	return materialWith(t, s, func() tpm.Key {
		k, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Unwrap})
		require.NoError(t, err)
		return k
	})
}

func materialWith(t testing.TB, s *tpm.TPM, transport func() tpm.Key) *material {
	t.Helper()
	m := &material{store: s, secret: make([]byte, kdf.KeySize)}
	_, err := rand.Read(m.secret)
	require.NoError(t, err)
	k, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256})
	require.NoError(t, err)
	m.device = k.(tpm.Signer)
	m.transport = transport()
	m.session, err = s.UnwrapSession(t.Context(), m.transport, tpmtest.Wrap(t, m.transport.Public(), m.secret))
	require.NoError(t, err)
	m.sealed, err = s.Seal(t.Context(), plaintext, aad)
	require.NoError(t, err)
	return m
}

// reopened opens the same keys in another store.
func (m *material) reopened(t testing.TB, s *tpm.TPM) *material {
	t.Helper()
	n := &material{store: s, secret: m.secret, sealed: m.sealed}
	k, err := s.OpenKey(t.Context(), m.device.Blob())
	require.NoError(t, err)
	n.device = k.(tpm.Signer)
	n.transport, err = s.OpenKey(t.Context(), m.transport.Blob())
	require.NoError(t, err)
	n.session, err = s.OpenSession(t.Context(), m.session.Blob())
	require.NoError(t, err)
	return n
}

// renewed makes all anew in another store but the transport key, which is opened:
// an RSA key takes a TPM 200 ms.
func (m *material) renewed(t testing.TB, s *tpm.TPM) *material {
	t.Helper()
	return materialWith(t, s, func() tpm.Key {
		k, err := s.OpenKey(t.Context(), m.transport.Blob())
		require.NoError(t, err)
		return k
	})
}

// operations are everything a TPM does; each checks its result.
func (m *material) operations() []operation {
	return []operation{
		{"GenerateKey", func(t testing.TB, ctx context.Context) error {
			_, err := m.store.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256})
			return err
		}},
		{"Sign", func(t testing.TB, ctx context.Context) error {
			d := sha256.Sum256(plaintext)
			sig, err := m.device.SignContext(ctx, d[:], crypto.SHA256)
			if err == nil {
				require.True(t, ecdsa.VerifyASN1(m.device.Public().(*ecdsa.PublicKey), d[:], sig))
			}
			return err
		}},
		{"UnwrapSession", func(t testing.TB, ctx context.Context) error {
			k, err := m.store.UnwrapSession(ctx, m.transport, tpmtest.Wrap(t, m.transport.Public(), m.secret))
			if err == nil {
				return m.derive(t, ctx, k)
			}
			return err
		}},
		{"OpenSession", func(t testing.TB, ctx context.Context) error {
			k, err := m.store.OpenSession(ctx, m.session.Blob())
			if err == nil {
				return m.derive(t, ctx, k)
			}
			return err
		}},
		{"Derive", func(t testing.TB, ctx context.Context) error { return m.derive(t, ctx, m.session) }},
		{"Seal", func(t testing.TB, ctx context.Context) error {
			_, err := m.store.Seal(ctx, plaintext, aad)
			return err
		}},
		{"Unseal", func(t testing.TB, ctx context.Context) error {
			got, err := m.store.Unseal(ctx, m.sealed, aad)
			if err == nil {
				require.Equal(t, plaintext, got)
			}
			return err
		}},
	}
}

type operation struct {
	name string
	run  func(t testing.TB, ctx context.Context) error
}

func (m *material) derive(t testing.TB, ctx context.Context, k tpm.SessionKey) error {
	t.Helper()
	got, err := k.Derive(ctx, []byte(kdf.Label), plaintext)
	if err == nil {
		require.Equal(t, kdf.Derive(m.secret, []byte(kdf.Label), plaintext), got)
	}
	return err
}

// all runs every operation.
func (m *material) all(t testing.TB) {
	t.Helper()
	for _, op := range m.operations() {
		require.NoError(t, op.run(t, t.Context()), op.name)
	}
}

func srkName(t testing.TB, s *tpm.TPM) []byte {
	t.Helper()
	name, err := s.SRKName(t.Context())
	require.NoError(t, err)
	return name
}
