package softkeys_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

func TestKeyStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master")
	tpmtest.RunKeyStore(t, func(t testing.TB) tpm.KeyStore {
		s, err := softkeys.Open(softkeys.File(path), softkeys.InsecureFastPINs()) // what a PIN costs is TestPINCost
		require.NoError(t, err)
		return s
	})
}
