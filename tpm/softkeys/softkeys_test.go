package softkeys_test

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/kdf"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

func TestMasters(t *testing.T) {
	dir := t.TempDir()
	masters := map[string]softkeys.Master{
		"file":       softkeys.File(filepath.Join(dir, "master")),
		"secret":     softkeys.Secret(bytes.Repeat([]byte{1}, 40)),
		"passphrase": softkeys.Passphrase(filepath.Join(dir, "locked"), []byte("correct horse")),
	}
	for name, m := range masters {
		t.Run(name, func(t *testing.T) {
			s, err := softkeys.Open(m)
			require.NoError(t, err)
			sealed, err := s.Seal(t.Context(), []byte("data"), nil)
			require.NoError(t, err)
			require.NoError(t, s.Close())
			again, err := softkeys.Open(m)
			require.NoError(t, err)
			got, err := again.Unseal(t.Context(), sealed, nil)
			require.NoError(t, err)
			require.Equal(t, "data", string(got))
			info, err := again.Info(t.Context())
			require.NoError(t, err)
			require.Equal(t, tpm.Info{Backend: "softkeys"}, info)
		})
	}
	for _, name := range []string{"master", "locked"} {
		fi, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		if runtime.GOOS != "windows" {
			require.EqualValues(t, 0o600, fi.Mode().Perm())
		}
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2, "nothing else is left")
}

func TestRefusedMasters(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, mode os.FileMode, content []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, content, mode))
		return path
	}
	locked := filepath.Join(dir, "locked")
	_, err := softkeys.Open(softkeys.Passphrase(locked, []byte("correct horse")))
	require.NoError(t, err)
	type refusal struct {
		master softkeys.Master
		says   string
	}
	tests := map[string]refusal{
		"none":                          {softkeys.Master{}, "no master key given"},
		"short secret":                  {softkeys.Secret(make([]byte, 31)), "a secret of 31 bytes"},
		"empty passphrase":              {softkeys.Passphrase(filepath.Join(dir, "new"), nil), "empty passphrase"},
		"short file":                    {softkeys.File(write("short", 0o600, make([]byte, 31))), "31 bytes instead of 32"},
		"long file":                     {softkeys.File(write("long", 0o600, make([]byte, 5000))), "1024 bytes instead of 32"},
		"directory":                     {softkeys.File(dir), "is not a regular file"},
		"passphrase file as a key file": {softkeys.File(locked), "85 bytes instead of 32"},
		"key file as a passphrase file": {softkeys.Passphrase(write("key", 0o600, make([]byte, 32)), []byte("x")), "truncated"},
	}
	if runtime.GOOS != "windows" {
		tests["in a missing directory"] = refusal{softkeys.File(filepath.Join(dir, "x", "master")), "no such file or directory"}
		tests["file that others read"] = refusal{softkeys.File(write("group", 0o640, make([]byte, 32))), "others can read"}
		tests["passphrase file that others read"] = refusal{softkeys.Passphrase(write("all", 0o604, make([]byte, 100)), []byte("x")), "others can read"}
	}
	for name, tt := range tests {
		_, err := softkeys.Open(tt.master)
		require.ErrorContains(t, err, tt.says, name)
	}
	_, err = os.Stat(filepath.Join(dir, "new"))
	require.ErrorIs(t, err, os.ErrNotExist, "a refusal leaves no file")
}

func TestWrongPassphrase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "locked")
	_, err := softkeys.Open(softkeys.Passphrase(path, []byte("correct horse")))
	require.NoError(t, err)
	_, err = softkeys.Open(softkeys.Passphrase(path, []byte("battery staple")))
	require.ErrorIs(t, err, softkeys.ErrPassphrase)
	require.NotContains(t, err.Error(), "battery")
}

// What a file says of Argon2id is believed up to a limit: it could ask for all
// the memory there is. The parameters are authenticated too.
func TestArgonParameters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "locked")
	m := softkeys.Passphrase(path, []byte("correct horse"))
	_, err := softkeys.Open(m)
	require.NoError(t, err)
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	require.EqualValues(t, 3, binary.BigEndian.Uint32(good))
	require.EqualValues(t, 64<<10, binary.BigEndian.Uint32(good[4:]))
	require.EqualValues(t, 4, good[8])
	tests := []struct {
		name    string
		time    uint32
		memory  uint32
		threads byte
		want    error
	}{
		{"no time", 0, 64 << 10, 4, tpm.ErrInvalidBlob},
		{"too much time", 1 << 20, 64 << 10, 4, tpm.ErrInvalidBlob},
		{"too much memory", 3, 0xffffffff, 4, tpm.ErrInvalidBlob},
		{"too little memory", 3, 8, 4, tpm.ErrInvalidBlob},
		{"no thread", 3, 64 << 10, 0, tpm.ErrInvalidBlob},
		{"too many threads", 3, 64 << 10, 255, tpm.ErrInvalidBlob},
		{"weaker", 1, 1 << 10, 1, softkeys.ErrPassphrase},
	}
	for _, tt := range tests {
		bad := bytes.Clone(good)
		binary.BigEndian.PutUint32(bad, tt.time)
		binary.BigEndian.PutUint32(bad[4:], tt.memory)
		bad[8] = tt.threads
		require.NoError(t, os.WriteFile(path, bad, 0o600))
		_, err := softkeys.Open(m)
		require.ErrorIs(t, err, tt.want, tt.name)
	}
	const parts = 4 + 4 + 1 + 16 + 12 + 16 // the parameters, the salt, the nonce and the tag
	for n, want := range map[int]error{
		0: tpm.ErrInvalidBlob, parts - 1: tpm.ErrInvalidBlob,
		parts: softkeys.ErrPassphrase, len(good) - 1: softkeys.ErrPassphrase, // all parts, and the last is short
	} {
		require.NoError(t, os.WriteFile(path, good[:n], 0o600))
		_, err := softkeys.Open(m)
		require.ErrorIs(t, err, want, "%d bytes", n)
	}
}

// The smallest and largest costs of a record. The smallest are those of RFC 9106, 3.1.
func TestArgonLimits(t *testing.T) {
	for _, c := range []struct {
		time, memory uint32
		threads      byte
		want         bool
	}{
		{1, 8, 1, true}, {0, 8, 1, false}, {1, 7, 1, false}, {1, 8, 0, false},
		{16, 256 << 10, 16, true}, {17, 256 << 10, 16, false}, {16, 256<<10 + 1, 16, false}, {16, 256 << 10, 17, false},
		{1, 128, 16, true}, {1, 127, 16, false},
	} {
		require.Equal(t, c.want, softkeys.Acceptable(c.time, c.memory, c.threads), "%+v", c)
	}
}

// Several processes that start at once agree on a master key.
func TestFileIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master")
	var wg sync.WaitGroup
	blobs := make(chan []byte, 16)
	for range 16 {
		wg.Go(func() {
			s, err := softkeys.Open(softkeys.File(path))
			if err == nil {
				var sealed []byte
				if sealed, err = s.Seal(t.Context(), []byte("data"), nil); err == nil {
					blobs <- sealed
				}
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	close(blobs)
	s, err := softkeys.Open(softkeys.File(path))
	require.NoError(t, err)
	for sealed := range blobs {
		_, err := s.Unseal(t.Context(), sealed, nil)
		require.NoError(t, err)
	}
}

// Records of the first version open in every later one.
func TestOldRecords(t *testing.T) {
	s, key, session, sealed := records(t)
	k, err := s.OpenKey(t.Context(), key)
	require.NoError(t, err)
	_, err = k.(tpm.Signer).SignContext(t.Context(), make([]byte, 32), crypto.SHA256)
	require.NoError(t, err)
	sk, err := s.OpenSession(t.Context(), session)
	require.NoError(t, err)
	got, err := sk.Derive(t.Context(), []byte(kdf.Label), []byte("context"))
	require.NoError(t, err)
	require.Equal(t, kdf.Derive(make([]byte, 32), []byte(kdf.Label), []byte("context")), got)
	data, err := s.Unseal(t.Context(), sealed, nil)
	require.NoError(t, err)
	require.Equal(t, "data", string(data))
}

// A PIN is a layer of its own: the master key does not open what is behind it.
func TestPINLayer(t *testing.T) {
	s, err := softkeys.Open(softkeys.Secret(make([]byte, 32)))
	require.NoError(t, err)
	k, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256, PIN: []byte("271828")})
	require.NoError(t, err)
	require.NoError(t, k.Close())
	wrong, err := s.OpenKey(t.Context(), k.Blob(), tpm.WithPIN([]byte("314159")))
	require.NoError(t, err)
	_, err = wrong.(tpm.Signer).SignContext(t.Context(), make([]byte, 32), crypto.SHA256)
	var e *tpm.WrongPINError
	require.True(t, errors.As(err, &e))
	require.Equal(t, -1, e.TriesLeft, "nothing counts")
}

// A PIN that was changed is cleared.
func TestOldPINIsCleared(t *testing.T) {
	s, err := softkeys.Open(softkeys.Secret(make([]byte, 32)))
	require.NoError(t, err)
	k, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256, PIN: []byte("271828")})
	require.NoError(t, err)
	old := softkeys.PIN(k)
	require.Equal(t, []byte("271828"), old)
	_, err = k.(tpm.PINKey).ChangePIN(t.Context(), []byte("161803"))
	require.NoError(t, err)
	require.Equal(t, make([]byte, 6), old)
	require.Equal(t, []byte("161803"), softkeys.PIN(k))
}

// A PIN costs what the documentation says, new or changed, unless the option
// asks for less; and either store uses the keys of the other.
func TestPINCost(t *testing.T) {
	pin, other := []byte("271828"), []byte("161803")
	for _, tt := range []struct {
		name         string
		opts         []softkeys.Option
		time, memory uint32
		threads      byte
	}{
		{"production", nil, 3, 64 << 10, 4},
		{"insecure", []softkeys.Option{softkeys.InsecureFastPINs()}, 1, 8, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := softkeys.Open(softkeys.Secret(make([]byte, 32)), tt.opts...)
			require.NoError(t, err)
			k, err := s.GenerateKey(t.Context(), tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256, PIN: pin})
			require.NoError(t, err)
			cost := func() {
				t.Helper()
				time, memory, threads := softkeys.Cost(k)
				require.Equal(t, []any{tt.time, tt.memory, tt.threads}, []any{time, memory, threads})
			}
			cost()
			_, err = k.(tpm.PINKey).ChangePIN(t.Context(), other)
			require.NoError(t, err)
			cost()
			for _, opts := range [][]softkeys.Option{nil, {softkeys.InsecureFastPINs()}} {
				again, err := softkeys.Open(softkeys.Secret(make([]byte, 32)), opts...)
				require.NoError(t, err)
				opened, err := again.OpenKey(t.Context(), k.Blob(), tpm.WithPIN(other))
				require.NoError(t, err)
				_, err = opened.(tpm.Signer).SignContext(t.Context(), make([]byte, 32), crypto.SHA256)
				require.NoError(t, err)
			}
		})
	}
}
