package tpm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/kdf"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// The storage root keys that operating systems leave at 0x81000001 are used;
// what is not one, or wants an auth value, is not.
func TestStorageRootKey(t *testing.T) {
	loose := tpm2.RSASRKTemplate
	loose.ObjectAttributes.NoDA = false
	decrypt := tpm2.RSASRKTemplate
	decrypt.ObjectAttributes.Restricted = false
	decrypt.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{KeyBits: 2048})
	tests := []struct {
		name     string
		template tpm2.TPMTPublic
		auth     []byte
		used     bool
	}{
		{"ECC with empty unique, by systemd", tpm.SRKTemplate(), nil, true},
		{"ECC with zero unique, by go-tpm", tpm2.ECCSRKTemplate, nil, true},
		{"RSA with zero unique, by Windows", tpm2.RSASRKTemplate, nil, true},
		{"with an auth value", tpm.SRKTemplate(), []byte("owner's"), false},
		{"RSA with an auth value", tpm2.RSASRKTemplate, []byte("owner's"), false},
		{"locked by wrong auth values", loose, nil, false},
		{"a decryption key", decrypt, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				provision(t, e.Opener(), srkHandle, tt.template, tt.auth)
				s := open(t, e.Opener(), tpm.Config{})
				want := tpm2.TPMRHOwner
				if tt.used {
					want = srkHandle
				}
				name, err := s.SRKName(t.Context())
				require.NoError(t, err)
				require.Equal(t, want, s.Parent())
				m := ownMaterial(t, s)
				m.all(t)
				require.NoError(t, s.Close())

				s, err = tpm.Open(t.Context(), e.Opener(), tpm.Config{})
				require.NoError(t, err)
				m.renewed(t, s).all(t)
				require.Equal(t, want, s.Parent(), "it shows at the first use, too")
				require.NoError(t, s.Close())
				s = open(t, e.Opener(), tpm.Config{SRKName: name})
				m.renewed(t, s).all(t)
				require.Equal(t, want, s.Parent())
			})
		})
	}
}

// Template H-2 has an empty unique. go-tpm's template makes another key.
func TestPrimaryTemplate(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		var names [][]byte
		raw(t, e.Opener(), func(c transport.TPM) {
			for _, template := range []tpm2.TPMTPublic{tpm.SRKTemplate(), tpm2.ECCSRKTemplate} {
				rsp, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(template)}.Execute(c)
				require.NoError(t, err)
				names = append(names, rsp.Name.Buffer)
				_, err = tpm2.FlushContext{FlushHandle: rsp.ObjectHandle}.Execute(c)
				require.NoError(t, err)
			}
		})
		name, err := open(t, e.Opener(), tpm.Config{}).SRKName(t.Context())
		require.NoError(t, err)
		require.Equal(t, names[0], name)
		require.NotEqual(t, names[0], names[1])
	})
}

// A persistent SRK that comes later does not take the place of the one that
// a blob was made under.
func TestParentIsTheBlobs(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		first, err := tpm.Open(t.Context(), e.Opener(), tpm.Config{})
		require.NoError(t, err)
		old := ownMaterial(t, first)
		require.NoError(t, first.Close())
		provision(t, e.Opener(), srkHandle, tpm2.RSASRKTemplate, nil)

		s := open(t, e.Opener(), tpm.Config{})
		require.Equal(t, srkHandle, s.Parent())
		m := ownMaterial(t, s)
		n := old.reopened(t, s)
		for range 2 { // the session's anchor changes to and fro
			n.all(t)
			m.all(t)
		}
		_, err = s.OpenKey(t.Context(), old.device.Blob())
		require.NoError(t, err)
	})
}

func TestOwnerAuth(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		owner := []byte("the \x00owner's")
		raw(t, e.Opener(), func(c transport.TPM) {
			_, err := tpm2.HierarchyChangeAuth{AuthHandle: tpm2.TPMRHOwner, NewAuth: tpm2.TPM2BAuth{Buffer: owner}}.Execute(c)
			require.NoError(t, err)
		})
		_, err := tpm.Open(t.Context(), e.Opener(), tpm.Config{})
		require.ErrorIs(t, err, tpm.ErrAuth)
		require.ErrorContains(t, err, "OwnerAuth")

		record := tpmtest.NewRecording(e.Opener())
		asked := 0
		cfg := tpm.Config{OwnerAuth: func(context.Context) ([]byte, error) {
			asked++
			return owner, nil
		}}
		s, err := tpm.Open(t.Context(), record.Opener(), cfg)
		require.NoError(t, err)
		newMaterial(t, s).all(t)
		require.NoError(t, s.Close())
		require.Positive(t, asked)
		require.False(t, record.Contains(owner), "it is proved, not sent")
		require.Zero(t, loaded(t, e.Opener()))

		refused := errors.New("the user closed the window")
		for _, value := range [][]byte{nil, owner} {
			_, err = tpm.Open(t.Context(), e.Opener(), tpm.Config{OwnerAuth: func(context.Context) ([]byte, error) {
				return value, refused
			}})
			require.ErrorIs(t, err, refused)
		}
	})
}

// With an existing SRK the owner's auth value is not needed.
func TestOwnerAuthIsNotNeeded(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		provision(t, e.Opener(), srkHandle, tpm.SRKTemplate(), nil)
		raw(t, e.Opener(), func(c transport.TPM) {
			_, err := tpm2.HierarchyChangeAuth{AuthHandle: tpm2.TPMRHOwner, NewAuth: tpm2.TPM2BAuth{Buffer: []byte("x")}}.Execute(c)
			require.NoError(t, err)
		})
		ownMaterial(t, open(t, e.Opener(), tpm.Config{})).all(t)
	})
}

// After TPM2_Clear the keys are gone for good, and the error says so without
// saying that anything should be deleted.
func TestCleared(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		first, err := tpm.Open(t.Context(), e.Opener(), tpm.Config{})
		require.NoError(t, err)
		m := newMaterial(t, first)
		require.NoError(t, first.Close())
		raw(t, e.Opener(), func(c transport.TPM) {
			_, err := tpm2.Clear{AuthHandle: tpm2.TPMRHLockout}.Execute(c)
			require.NoError(t, err)
		})
		s := open(t, e.Opener(), tpm.Config{})
		_, err = s.OpenKey(t.Context(), m.device.Blob())
		require.ErrorIs(t, err, tpm.ErrKeyUnusable)
		_, err = s.OpenSession(t.Context(), m.session.Blob())
		require.ErrorIs(t, err, tpm.ErrKeyUnusable)
		newMaterial(t, s).all(t)
	})
}

// Without the name of its parent, as OpenSSL writes it, a foreign key is still
// refused: its integrity is protected by the parent.
func TestForeignKeyWithoutParentName(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		first, err := tpm.Open(t.Context(), e.Opener(), tpm.Config{})
		require.NoError(t, err)
		m := newMaterial(t, first)
		require.NoError(t, first.Close())
		require.NoError(t, e.Wipe())
		s := open(t, e.Opener(), tpm.Config{})
		k, err := s.OpenKey(t.Context(), withoutParentName(t, m.device.Blob()))
		require.NoError(t, err)
		_, err = k.(tpm.Signer).Sign(nil, make([]byte, 32), sha256Hash)
		require.ErrorIs(t, err, tpm.ErrKeyUnusable)
	})
}

func TestSealSize(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		count := tpmtest.NewCounting(e.Opener())
		s := open(t, count.Opener(), tpm.Config{})
		for _, n := range []int{1, tpm.MaxSeal} {
			sealed, err := s.Seal(t.Context(), make([]byte, n), aad)
			require.NoError(t, err)
			got, err := s.Unseal(t.Context(), sealed, aad)
			require.NoError(t, err)
			require.Equal(t, make([]byte, n), got)
		}
		count.Take()
		for _, n := range []int{0, tpm.MaxSeal + 1} {
			_, err := s.Seal(t.Context(), make([]byte, n), aad)
			require.ErrorContains(t, err, fmt.Sprintf("%d bytes; it takes 1 to 128", n))
		}
		require.Empty(t, count.Take())
	})
}

// What TPM2_HMAC takes on every TPM is the limit, and the error says by how much
// it was exceeded.
func TestDeriveSize(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		m := newMaterial(t, open(t, e.Opener(), tpm.Config{}))
		label := []byte(kdf.Label)
		context := bytes.Repeat([]byte{1}, 1024-len(kdf.Message(label, nil)))
		got, err := m.session.Derive(t.Context(), label, context)
		require.NoError(t, err)
		require.Equal(t, kdf.Derive(m.secret, label, context), got)
		_, err = m.session.Derive(t.Context(), label, append(context, 1, 2, 3))
		require.ErrorContains(t, err, "label and context are 3 bytes too long")
	})
}

// A transport key decrypts session keys and nothing else, where the TPM can fix
// the padding in it.
func TestTransportKeyHasItsPadding(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		k := transportKey(t, open(t, e.Opener(), tpm.Config{}))
		parms, err := tpm.PublicArea(k).Parameters.RSADetail()
		require.NoError(t, err)
		require.Equal(t, tpm2.TPMAlgOAEP, parms.Scheme.Scheme)
		details, err := parms.Scheme.Details.OAEP()
		require.NoError(t, err)
		require.Equal(t, tpm2.TPMAlgSHA1, details.HashAlg)
	})
}

// Sealed data knows a TPM that was cleared from another one.
func TestSealedKnowsACleared(t *testing.T) {
	for _, tt := range []struct {
		name      string
		happens   func(*tpmtest.Emulator) error
		want, not error
	}{
		{"cleared", (*tpmtest.Emulator).Clear, tpm.ErrCleared, tpm.ErrTPMChanged},
		{"another", (*tpmtest.Emulator).Wipe, tpm.ErrTPMChanged, tpm.ErrCleared},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				s := open(t, e.Opener(), tpm.Config{})
				sealed, err := s.Seal(t.Context(), plaintext, aad)
				require.NoError(t, err)
				require.NoError(t, s.Close())
				require.NoError(t, tt.happens(e))
				s = open(t, e.Opener(), tpm.Config{})
				_, err = s.Unseal(t.Context(), sealed, aad)
				require.ErrorIs(t, err, tpm.ErrKeyUnusable)
				require.ErrorIs(t, err, tt.want)
				require.NotErrorIs(t, err, tt.not)
			})
		})
	}
}

// A blob may name another persistent key as its parent: it has to be there, to
// be a storage key, and to be the one by its name if the blob has that.
func TestParentAtAnotherHandle(t *testing.T) {
	const other = tpm2.TPMHandle(0x81000002)
	decrypt := tpm2.RSASRKTemplate
	decrypt.ObjectAttributes.Restricted = false
	decrypt.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{KeyBits: 2048})
	tests := []struct {
		name          string
		there         *tpm2.TPMTPublic // nil: nothing
		named, opened error
	}{
		{"the same key", new(tpm.SRKTemplate()), nil, nil},
		{"another storage key", &tpm2.ECCSRKTemplate, tpm.ErrTPMChanged, nil},
		{"not a storage key", &decrypt, tpm.ErrTPMChanged, tpm.ErrInvalidBlob},
		{"nothing", nil, tpm.ErrKeyUnusable, tpm.ErrKeyUnusable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
				provision(t, e.Opener(), srkHandle, tpm.SRKTemplate(), nil)
				if tt.there != nil {
					provision(t, e.Opener(), other, *tt.there, nil)
				}
				opening := func(change func([]byte) []byte) (tpm.Key, error) {
					s := open(t, e.Opener(), tpm.Config{})
					defer s.Close()
					k, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256})
					require.NoError(t, err)
					moved := reencode(t, k.Blob(), []byte{0x02, 0x05, 0, 0x81, 0, 0, 1}, []byte{0x02, 0x05, 0, 0x81, 0, 0, 2})
					k, err = s.OpenKey(t.Context(), change(moved))
					if err == nil && tt.named == nil {
						_, err = k.(tpm.Signer).Sign(nil, make([]byte, 32), sha256Hash)
					}
					return k, err
				}
				_, err := opening(bytes.Clone)
				require.ErrorIs(t, err, tt.named)
				_, err = opening(func(blob []byte) []byte { return withoutParentName(t, blob) })
				require.ErrorIs(t, err, tt.opened)
			})
		})
	}
}

// A parent is a storage key as the TCG's provisioning guidance has it: anything else
// could be known outside the TPM, or be of the other program's making.
func TestSoundStorageKey(t *testing.T) {
	rsa := func(bits tpm2.TPMKeyBits) *tpm2.TPMUPublicParms {
		return new(tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{KeyBits: bits}))
	}
	ecc := func(curve tpm2.TPMECCCurve) *tpm2.TPMUPublicParms {
		return new(tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{CurveID: curve}))
	}
	for name, tt := range map[string]struct {
		change func(*tpm2.TPMTPublic)
		sound  bool
	}{
		"the template":            {func(*tpm2.TPMTPublic) {}, true},
		"RSA":                     {func(p *tpm2.TPMTPublic) { *p = tpm2.RSASRKTemplate }, true},
		"not fixed to the TPM":    {func(p *tpm2.TPMTPublic) { p.ObjectAttributes.FixedTPM = false }, false},
		"not fixed to its parent": {func(p *tpm2.TPMTPublic) { p.ObjectAttributes.FixedParent = false }, false},
		"made outside":            {func(p *tpm2.TPMTPublic) { p.ObjectAttributes.SensitiveDataOrigin = false }, false},
		"not restricted":          {func(p *tpm2.TPMTPublic) { p.ObjectAttributes.Restricted = false }, false},
		"does not decrypt":        {func(p *tpm2.TPMTPublic) { p.ObjectAttributes.Decrypt = false }, false},
		"signs":                   {func(p *tpm2.TPMTPublic) { p.ObjectAttributes.SignEncrypt = true }, false},
		"under a policy alone":    {func(p *tpm2.TPMTPublic) { p.ObjectAttributes.UserWithAuth = false }, false},
		"can be locked out":       {func(p *tpm2.TPMTPublic) { p.ObjectAttributes.NoDA = false }, false},
		"another name algorithm":  {func(p *tpm2.TPMTPublic) { p.NameAlg = tpm2.TPMAlgSHA384 }, false},
		"RSA of 1024 bits":        {func(p *tpm2.TPMTPublic) { *p = tpm2.RSASRKTemplate; p.Parameters = *rsa(1024) }, false},
		"RSA of 3072 bits":        {func(p *tpm2.TPMTPublic) { *p = tpm2.RSASRKTemplate; p.Parameters = *rsa(3072) }, false},
		"RSA, said to be ECC":     {func(p *tpm2.TPMTPublic) { p.Type, p.Parameters = tpm2.TPMAlgECC, *rsa(2048) }, false},
		"P-384":                   {func(p *tpm2.TPMTPublic) { p.Parameters = *ecc(tpm2.TPMECCNistP384) }, false},
		"ECC, said to be RSA":     {func(p *tpm2.TPMTPublic) { p.Type, p.Parameters = tpm2.TPMAlgRSA, *ecc(tpm2.TPMECCNistP256) }, false},
		"an HMAC key":             {func(p *tpm2.TPMTPublic) { p.Type = tpm2.TPMAlgKeyedHash }, false},
	} {
		p := tpm.SRKTemplate()
		tt.change(&p)
		require.Equal(t, tt.sound, tpm.SoundStorageKey(&p), name)
	}
}

// The parent of another program's key is read once and is pinned from then on: what
// is put in its place later is another TPM's key.
func TestForeignParentIsPinned(t *testing.T) {
	const other = srkHandle + 1
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		provision(t, e.Opener(), srkHandle, tpm.SRKTemplate(), nil)
		provision(t, e.Opener(), other, tpm.SRKTemplate(), nil)
		count := tpmtest.NewCounting(e.Opener())
		s := open(t, count.Opener(), tpm.Config{})
		made, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256})
		require.NoError(t, err)
		blob := withoutParentName(t, reencode(t, made.Blob(), []byte{0x02, 0x05, 0, 0x81, 0, 0, 1}, []byte{0x02, 0x05, 0, 0x81, 0, 0, 2}))
		reads := func() (n int) {
			count.Take()
			k, err := s.OpenKey(t.Context(), blob)
			require.NoError(t, err)
			_, err = k.(tpm.Signer).Sign(nil, make([]byte, 32), sha256Hash)
			require.NoError(t, err)
			for _, c := range count.Take() {
				if c == tpm2.TPMCCReadPublic {
					n++
				}
			}
			return n
		}
		require.Equal(t, 1, reads())
		require.Zero(t, reads())
	})
}

// Whether the storage root key can be used without an auth value is asked once.
func TestSRKNameAsksOnce(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		count := tpmtest.NewCounting(e.Opener())
		s := open(t, count.Opener(), tpm.Config{})
		name, err := s.SRKName(t.Context())
		require.NoError(t, err)
		require.Contains(t, count.Take(), tpm2.TPMCCLoad)
		again, err := s.SRKName(t.Context())
		require.NoError(t, err)
		require.Equal(t, name, again)
		require.Empty(t, count.Take())
	})
}
