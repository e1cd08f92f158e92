package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/prtbroker/prtbroker/internal/atomicfile"
	"github.com/spf13/cobra"

	"github.com/prtbroker/prtbroker/broker"
)

// aksServer is the application id of AKS clusters with Microsoft Entra
// integration, which Microsoft's documentation of kubelogin gives.
const aksServer = "6dae42f8-4368-4678-94ff-3960e28e3630"

const execCredentialV1 = "client.authentication.k8s.io/v1"

// execCredential is what kubectl reads from an exec plugin
// (client.authentication.k8s.io/v1).
type execCredential struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Status     execStatus `json:"status"`
}

type execStatus struct {
	Token   string    `json:"token"`
	Expires time.Time `json:"expirationTimestamp"`
}

func (a *app) kubectlCommand() *cobra.Command {
	var server string
	var force bool
	c := &cobra.Command{
		Use:   "kubectl-credential",
		Short: "Be an exec credential plugin of kubectl for AKS",
		Long: `Kubectl-credential prints a token for the API server of a cluster, as kubectl
expects of a plugin (client.authentication.k8s.io/v1):

	users:
	- name: aks
	  user:
	    exec:
	      apiVersion: client.authentication.k8s.io/v1
	      command: dsreg
	      args: [kubectl-credential]
	      interactiveMode: Never`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			version, err := execVersion(a.getenv("KUBERNETES_EXEC_INFO"))
			if err != nil {
				return err
			}
			r, err := a.kubectlToken(c.Context(), server+"/.default", force)
			if err != nil {
				return err
			}
			return json.NewEncoder(a.out).Encode(execCredential{
				APIVersion: version,
				Kind:       "ExecCredential",
				Status:     execStatus{Token: r.AccessToken, Expires: r.ExpiresOn.UTC()},
			})
		},
	}
	c.Flags().StringVar(&server, "server-id", aksServer, "application `id` of the API server")
	c.Flags().BoolVar(&force, "force", false, "get a new token even if one is cached")
	return c
}

// A given records the token that the last run returned, and the process that
// got it.
type given struct {
	Parent int    `json:"parent"`
	Token  []byte `json:"sha256"`
}

// kubectlToken gets a token. A kubectl process calls its plugin a second time
// when the token has expired or the server answered 401, without saying which,
// so the same parent process never gets the same token twice.
func (a *app) kubectlToken(ctx context.Context, scope string, force bool) (broker.AuthResult, error) {
	dir, err := a.stateDir()
	if err != nil {
		return broker.AuthResult{}, err
	}
	file := filepath.Join(dir, "kubectl.json")
	var last given
	if b, err := os.ReadFile(file); err == nil {
		_ = json.Unmarshal(b, &last) // without it a refused token may be returned again
	}
	r, err := a.silent(ctx, scope, force)
	if err == nil && !force && last.same(r) {
		r, err = a.silent(ctx, scope, true)
	}
	if err != nil {
		return r, err
	}
	b, err := json.Marshal(newGiven(r))
	if err != nil {
		return r, err
	}
	return r, atomicfile.Write(file, b, 0o600)
}

func newGiven(r broker.AuthResult) given {
	sum := sha256.Sum256([]byte(r.AccessToken))
	return given{os.Getppid(), sum[:]}
}

func (g given) same(r broker.AuthResult) bool {
	now := newGiven(r)
	return g.Parent == now.Parent && bytes.Equal(g.Token, now.Token)
}

// execVersion returns the version that kubectl asks for, or v1 if it names
// none.
func execVersion(info string) (string, error) {
	if info == "" {
		return execCredentialV1, nil
	}
	var q struct {
		APIVersion string `json:"apiVersion"`
	}
	if err := json.Unmarshal([]byte(info), &q); err != nil {
		return "", usagef("KUBERNETES_EXEC_INFO is not JSON")
	}
	switch q.APIVersion {
	case execCredentialV1, "client.authentication.k8s.io/v1beta1":
		return q.APIVersion, nil
	}
	return "", usagef("kubectl asks for %s; this plugin speaks %s", q.APIVersion, execCredentialV1)
}
