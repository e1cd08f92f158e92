package softkeys_test

import (
	"context"
	"crypto"
	"crypto/sha256"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

func TestMasters(t *testing.T) {
	dir := t.TempDir()
	ctx := context.Background()
	masters := map[string]softkeys.Master{
		"file":       softkeys.File(filepath.Join(dir, "master")),
		"secret":     softkeys.Secret(make([]byte, 32)),
		"passphrase": softkeys.Passphrase(filepath.Join(dir, "locked"), []byte("correct horse")),
	}
	for name, m := range masters {
		t.Run(name, func(t *testing.T) {
			s, err := softkeys.Open(m)
			require.NoError(t, err)
			k, err := s.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256})
			require.NoError(t, err)
			require.NoError(t, s.Close())

			s, err = softkeys.Open(m)
			require.NoError(t, err)
			k, err = s.OpenKey(ctx, k.Blob())
			require.NoError(t, err)
			d := sha256.Sum256(nil)
			_, err = k.(tpm.Signer).Sign(nil, d[:], crypto.SHA256)
			require.NoError(t, err)
		})
	}
}
