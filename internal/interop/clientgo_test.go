package interop

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// apiServer stands for the API server of a cluster: it takes any token until it
// is revoked.
type apiServer struct {
	mu      sync.Mutex // guards all below
	seen    []string
	revoked int // so many of seen are refused
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	i := slices.Index(s.seen, token)
	if ok && i < 0 {
		i = len(s.seen)
		s.seen = append(s.seen, token)
	}
	if i < s.revoked {
		w.WriteHeader(http.StatusUnauthorized)
	}
}

func (s *apiServer) tokens() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}

func (s *apiServer) revokeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked = len(s.seen)
}

const execConfig = `apiVersion: v1
kind: Config
current-context: aks
clusters: [{name: aks, cluster: {server: %q, certificate-authority-data: %s}}]
contexts: [{name: aks, context: {cluster: aks, user: aks}}]
users:
- name: aks
  user:
    exec:
      apiVersion: client.authentication.k8s.io/%s
      command: %s
      args: [kubectl-credential, --state, %s]
      interactiveMode: Never
`

// dsreg is an exec credential plugin of client-go, which is what kubectl and all
// programs in Go for Kubernetes use.
func TestExecPlugin(t *testing.T) {
	t.Parallel()
	const client = "client-go"
	dir := t.TempDir()
	bin, state := filepath.Join(dir, "dsreg"), filepath.Join(dir, "state")
	build := exec.Command("go", "build", "-o", bin, "./examples/dsreg")
	build.Dir = filepath.Join("..", "..")
	out, err := build.CombinedOutput()
	require.NoErrorf(t, err, "%s", out)
	out, err = exec.Command(bin, "join", "--emulator", "--software-keys", "--state", state).CombinedOutput()
	require.NoErrorf(t, err, "%s", out)
	for _, version := range []string{"v1", "v1beta1"} {
		flow(t, client, "exec plugin dsreg, "+version, func(t *testing.T) string {
			s := &apiServer{}
			server := httptest.NewTLSServer(s)
			defer server.Close()
			authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
			file := filepath.Join(dir, version)
			require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, execConfig, server.URL, base64.StdEncoding.EncodeToString(authority), version, bin, state), 0o600))
			get := func() *http.Client {
				cfg, err := clientcmd.BuildConfigFromFlags("", file)
				require.NoError(t, err)
				c, err := rest.HTTPClientFor(cfg)
				require.NoError(t, err)
				return c
			}()
			status := func() int {
				res, err := get.Get(server.URL + "/version")
				require.NoError(t, err)
				require.NoError(t, res.Body.Close())
				return res.StatusCode
			}
			require.Equal(t, http.StatusOK, status())
			require.Equal(t, http.StatusOK, status())
			require.Equal(t, 1, s.tokens(), "one token serves until the server refuses it")
			s.revokeAll()
			require.Equal(t, http.StatusUnauthorized, status())
			require.Equal(t, http.StatusOK, status())
			require.Equal(t, 2, s.tokens())
			return "a token; another one after 401"
		})
	}
}
