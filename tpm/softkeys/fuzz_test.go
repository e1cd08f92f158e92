package softkeys_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

// records were made under a master key of zeros by the first version of this
// format: a key, a session key of zeros and sealed data.
func records(t testing.TB) (s *softkeys.Store, key, session, sealed []byte) {
	t.Helper()
	s, err := softkeys.Open(softkeys.Secret(make([]byte, 32)))
	require.NoError(t, err)
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(t, err)
		return b
	}
	return s, read("key.blob"), read("session.blob"), read("sealed.blob")
}

// A record that was changed in any way never opens.
func FuzzOpen(f *testing.F) {
	ctx := context.Background()
	s, key, session, sealed := records(f)
	for _, blob := range [][]byte{key, session, sealed} {
		f.Add(blob)
	}
	f.Fuzz(func(t *testing.T, blob []byte) {
		if _, err := s.OpenKey(ctx, blob); err == nil && !bytes.Equal(blob, key) {
			t.Fatalf("a key: %x", blob)
		}
		if _, err := s.OpenSession(ctx, blob); err == nil && !bytes.Equal(blob, session) {
			t.Fatalf("a session key: %x", blob)
		}
		if _, err := s.Unseal(ctx, blob, nil); err == nil && !bytes.Equal(blob, sealed) {
			t.Fatalf("sealed: %x", blob)
		}
	})
}
