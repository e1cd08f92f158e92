package authd_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/prtbroker/prtbroker/examples/authd"
	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

const childEnv = "AUTHD_TEST_CHILD"

// The JSON value is all that the next process gets: it has the user's groups by the
// PRT in it, from a tenant that is reached over TLS, with the TPM of before.
func TestAnotherProcess(t *testing.T) {
	if dir := os.Getenv(childEnv); dir != "" {
		child(t, dir)
		return
	}
	t.Parallel()
	for _, machine := range []string{"software keys", "swtpm"} {
		t.Run(machine, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			stop := func() {}
			w := newWorld(t, nil)
			if machine == "swtpm" {
				w.keys, stop = startTPM(t, filepath.Join(dir, "tpm"))
				w.p = w.provider(nil)
			}
			data, err := json.Marshal(w.register(w.signIn(nil)))
			require.NoError(t, err)
			require.NoError(t, w.p.Close())
			stop()
			for name, content := range map[string]string{"data": string(data), "tenant": w.TenantID(), "addr": w.Addr(), "ca": string(w.CA())} {
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
			}
			before := len(w.PRTs())
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAnotherProcess$", "-test.v")
			cmd.Env = append(os.Environ(), childEnv+"="+dir)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			require.FileExists(t, filepath.Join(dir, "done"))
			require.Len(t, w.PRTs(), before)
		})
	}
}

// startTPM starts a software TPM whose seeds are kept in dir.
func startTPM(t *testing.T, dir string) (tpm.KeyStore, func()) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o700))
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	e, err := tpmtest.StartSwtpm(ctx, dir)
	if errors.Is(err, tpmtest.ErrNoSwtpm) {
		t.Skip(err)
	}
	require.NoError(t, err)
	keys, err := tpm.Open(ctx, e.Opener(), tpm.Config{})
	require.NoError(t, err)
	return keys, func() {
		require.NoError(t, keys.Close())
		require.NoError(t, e.Close())
	}
}

// child is the other process.
func child(t *testing.T, dir string) {
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return data
	}
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(read("ca")))
	addr := string(read("addr"))
	cfg := authd.Config{Transport: &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}}}
	if seeds := filepath.Join(dir, "tpm"); isDir(seeds) {
		keys, stop := startTPM(t, seeds)
		defer stop()
		cfg.Keys = keys
	}
	var data authd.DeviceRegistrationData
	require.NoError(t, json.Unmarshal(read("data"), &data))
	p := authd.New(cfg)
	defer func() { require.NoError(t, p.Close()) }()
	access, err := p.AcquireAccessTokenForGraphAPI(t.Context(), app, string(read("tenant")), new(oauth2.Token), data)
	require.NoError(t, err)
	require.NotEmpty(t, access)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "done"), nil, 0o600))
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
