package interop

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/managedidentity"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// ordersForMachines are more names of the API, one for each row of a managed identity:
// MSAL Go caches their tokens for the whole process, and azidentity uses it, so that a row
// with the resource of another would see no endpoint.
var ordersForMachines = []string{"api://orders.1", "api://orders.2", "api://orders.3", "api://orders.4", "api://orders.5", "api://orders.6", "api://orders.7"}

// A tenant for programs without a user: a daemon with every credential, a web API
// that acts for its caller, a managed identity.
const (
	daemonID  = "7a11e51e-1001-4000-8000-000000000001"
	ordersID  = "7a11e51e-1002-4000-8000-000000000002"
	frontID   = "7a11e51e-1003-4000-8000-000000000003"
	machineID = "7a11e51e-1004-4000-8000-000000000004"

	daemonSecret = "daemon~secret"
	ordersSecret = "orders~secret"
	ordersScope  = "api://orders/.default"
	cluster      = "https://oidc.cluster.example/"
	account      = "system:serviceaccount:shop:checkout"
	shop         = "/subscriptions/0/resourcegroups/shop/providers/Microsoft.ManagedIdentity/userAssignedIdentities/shop"
)

func newDaemonTenant(t *testing.T) (*emulator, *rsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "daemon"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return newEmulator(t, entratest.Options{
		Users: []entratest.User{{Username: "alice", Password: alicePwd}},
		Apps: []entratest.App{
			{ClientID: daemonID, Name: "Daemon", Secret: daemonSecret, Certificates: [][]byte{der},
				Federated: []entratest.FederatedCredential{{Issuer: cluster, Subject: account}}, Permissions: map[string][]string{"api://orders": {"Orders.Read.All"}}},
			{ClientID: ordersID, Name: "Orders", URIs: append([]string{"api://orders"}, ordersForMachines...), Secret: ordersSecret, Roles: []string{"Orders.Read.All"}, AdminConsent: true},
			{ClientID: frontID, Name: "Front", Public: true, Redirects: []string{loopback}, AdminConsent: true},
			{ClientID: machineID, Name: "Shop", ManagedIdentity: shop, Permissions: map[string][]string{"api://orders": {"Orders.Read.All"}}},
		},
	}), key, cert
}

func sawApp(t *testing.T, token string, err error) string {
	t.Helper()
	require.NoError(t, err)
	claims := claimsOf(t, token)
	require.Equal(t, []any{"Orders.Read.All"}, claims["roles"])
	require.Equal(t, claims["oid"], claims["sub"])
	return fmt.Sprintf("token, roles %v", claims["roles"])
}

func sawRefusal(t *testing.T, err error, code int) string {
	t.Helper()
	require.ErrorContains(t, err, fmt.Sprintf("AADSTS%d", code))
	var failed *azidentity.AuthenticationFailedError
	require.True(t, errors.As(err, &failed), "%v", err)
	return fmt.Sprintf("refused: AuthenticationFailedError, AADSTS%d", code)
}

func TestAzidentity(t *testing.T) {
	const client = "azidentity for Go"
	e, key, cert := newDaemonTenant(t)
	o := azcore.ClientOptions{Transport: e.Client(), Retry: policy.RetryOptions{MaxRetries: -1}}
	get := func(t *testing.T, c azcore.TokenCredential, err error) (string, error) {
		t.Helper()
		require.NoError(t, err)
		token, err := c.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{ordersScope}})
		return token.Token, err
	}
	flow(t, client, "ClientSecretCredential", func(t *testing.T) string {
		c, err := azidentity.NewClientSecretCredential(e.TenantID(), daemonID, daemonSecret, &azidentity.ClientSecretCredentialOptions{ClientOptions: o})
		token, err := get(t, c, err)
		return sawApp(t, token, err)
	})
	flow(t, client, "ClientSecretCredential, a wrong secret", func(t *testing.T) string {
		c, err := azidentity.NewClientSecretCredential(e.TenantID(), daemonID, "x", &azidentity.ClientSecretCredentialOptions{ClientOptions: o})
		_, err = get(t, c, err)
		return sawRefusal(t, err, 7000215)
	})
	flow(t, client, "ClientSecretCredential, a secret that is over", func(t *testing.T) string {
		const young = "7a11e51e-1006-4000-8000-000000000006"
		require.NoError(t, e.AddApp(entratest.App{ClientID: young, Name: "Former", Secret: "former", SecretExpires: e.Now().Add(-time.Hour)}))
		c, err := azidentity.NewClientSecretCredential(e.TenantID(), young, "former", &azidentity.ClientSecretCredentialOptions{ClientOptions: o})
		_, err = get(t, c, err)
		return sawRefusal(t, err, 7000222)
	})
	flow(t, client, "ClientAssertionCredential, by the token of another application", func(t *testing.T) string {
		const trusting, proving, object = "7a11e51e-1007-4000-8000-000000000007", "7a11e51e-1008-4000-8000-000000000008", "7a11e51e-1009-4000-8000-000000000009"
		require.NoError(t, e.AddApp(entratest.App{ClientID: trusting, Name: "Trusting", Permissions: map[string][]string{"api://orders": {"Orders.Read.All"}},
			Federated: []entratest.FederatedCredential{{Issuer: "https://login.microsoftonline.com/" + e.TenantID() + "/v2.0", Subject: object}}}))
		require.NoError(t, e.AddApp(entratest.App{ClientID: proving, Name: "Proving", Secret: "proving", ServicePrincipalID: object}))
		inner, err := azidentity.NewClientSecretCredential(e.TenantID(), proving, "proving", &azidentity.ClientSecretCredentialOptions{ClientOptions: o})
		require.NoError(t, err)
		assertion := func(ctx context.Context) (string, error) {
			token, err := inner.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{"api://AzureADTokenExchange/.default"}})
			return token.Token, err
		}
		c, err := azidentity.NewClientAssertionCredential(e.TenantID(), trusting, assertion, &azidentity.ClientAssertionCredentialOptions{ClientOptions: o})
		token, err := get(t, c, err)
		return sawApp(t, token, err)
	})
	flow(t, client, "ClientCertificateCredential", func(t *testing.T) string {
		c, err := azidentity.NewClientCertificateCredential(e.TenantID(), daemonID, []*x509.Certificate{cert}, key, &azidentity.ClientCertificateCredentialOptions{ClientOptions: o})
		token, err := get(t, c, err)
		return sawApp(t, token, err)
	})
	flow(t, client, "ClientCertificateCredential, another key", func(t *testing.T) string {
		other, err := rsa.GenerateKey(rand.Reader, 2048)
		require.NoError(t, err)
		template := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: cert.NotBefore, NotAfter: cert.NotAfter}
		der, err := x509.CreateCertificate(rand.Reader, template, template, other.Public(), other)
		require.NoError(t, err)
		foreign, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		c, err := azidentity.NewClientCertificateCredential(e.TenantID(), daemonID, []*x509.Certificate{foreign}, other, &azidentity.ClientCertificateCredentialOptions{ClientOptions: o})
		_, err = get(t, c, err)
		return sawRefusal(t, err, 700027)
	})
	tokenFile := func(t *testing.T, subject string) string {
		file := filepath.Join(t.TempDir(), "token")
		require.NoError(t, os.WriteFile(file, []byte(e.FederatedToken(entratest.FederatedCredential{Issuer: cluster, Subject: subject})), 0o600))
		return file
	}
	workload := func(t *testing.T, subject string) (string, error) {
		c, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{ClientOptions: o,
			ClientID: daemonID, TenantID: e.TenantID(), TokenFilePath: tokenFile(t, subject)})
		return get(t, c, err)
	}
	flow(t, client, "WorkloadIdentityCredential", func(t *testing.T) string {
		token, err := workload(t, account)
		return sawApp(t, token, err)
	})
	flow(t, client, "WorkloadIdentityCredential, another service account", func(t *testing.T) string {
		_, err := workload(t, "system:serviceaccount:shop:other")
		return sawRefusal(t, err, 700213)
	})
	flow(t, client, "OnBehalfOfCredential", func(t *testing.T) string {
		//lint:ignore SA1019 a flow that the client has is a flow to run
		user, err := azidentity.NewUsernamePasswordCredential(e.TenantID(), frontID, alice, alicePwd, &azidentity.UsernamePasswordCredentialOptions{ClientOptions: o})
		assertion, err := get(t, user, err)
		require.NoError(t, err)
		c, err := azidentity.NewOnBehalfOfCredentialWithSecret(e.TenantID(), ordersID, assertion, ordersSecret, &azidentity.OnBehalfOfCredentialOptions{ClientOptions: o})
		require.NoError(t, err)
		token, err := c.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{userRead}})
		require.NoError(t, err)
		require.Equal(t, alice, claimsOf(t, token.Token)["upn"])
		return "token of the user for Graph"
	})
	flow(t, client, "a policy blocks workload identities", func(t *testing.T) string {
		require.NoError(t, e.SetPolicies([]byte(`{"id":"w","displayName":"Workloads","state":"enabled","conditions":{"applications":{"includeApplications":["All"]},
			"clientApplications":{"includeServicePrincipals":["ServicePrincipalsInMyTenant"]}},"grantControls":{"operator":"OR","builtInControls":["block"]}}`)))
		defer func() { require.NoError(t, e.SetPolicies(nil)) }()
		c, err := azidentity.NewClientSecretCredential(e.TenantID(), daemonID, daemonSecret, &azidentity.ClientSecretCredentialOptions{ClientOptions: o})
		_, err = get(t, c, err)
		return sawRefusal(t, err, 53003)
	})
}

// served runs the endpoint of a managed identity, and puts it into the environment
// of this process, where azidentity looks for it.
//
// The client returned connects to it at the address of the instance metadata service,
// the only one that the Go clients know, and reaches no other address.
func served(t *testing.T, e *emulator, m entratest.ManagedIdentity) *http.Client {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var asked atomic.Int32
	endpoint := e.ManagedIdentity(m)
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		endpoint.ServeHTTP(w, r)
	})}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() {
		_ = srv.Close()
		if asked.Load() == 0 {
			t.Error("the client did not ask this endpoint")
		}
	})
	if m.Service != entratest.AzureArc {
		removeAgent(t)
	}
	for _, kv := range m.Environment("http://" + ln.Addr().String()) {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr != "169.254.169.254:80" && addr != ln.Addr().String() {
			return nil, fmt.Errorf("%s is not the endpoint of the managed identity", addr)
		}
		return new(net.Dialer).DialContext(ctx, network, ln.Addr().String())
	}}}
}

// himds is where clients look for the agent of Azure Arc.
const himds = "/opt/azcmagent/bin/himds"

// removeAgent removes the empty file that the row of Azure Arc puts in the agent's place:
// with it, clients take every machine for one of Arc's.
func removeAgent(t *testing.T) {
	t.Helper()
	info, err := os.Stat(himds)
	if err != nil {
		return
	}
	if info.Size() > 0 {
		t.Skip("not run: this machine has the agent of Azure Arc")
	}
	require.NoError(t, os.Remove(himds))
}

func TestAzidentityManaged(t *testing.T) {
	const client = "azidentity for Go"
	e, _, _ := newDaemonTenant(t)
	row := 0
	managed := func(t *testing.T, machine *http.Client, id azidentity.ManagedIDKind) (string, error) {
		t.Helper()
		row++
		c, err := azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ID: id, ClientOptions: azcore.ClientOptions{Transport: machine, Retry: policy.RetryOptions{MaxRetries: -1}}})
		require.NoError(t, err)
		token, err := c.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{ordersForMachines[row-1] + "/.default"}})
		return token.Token, err
	}
	flow(t, client, "ManagedIdentityCredential, App Service, system-assigned", func(t *testing.T) string {
		machine := served(t, e, entratest.ManagedIdentity{Service: entratest.AppService, ClientID: machineID, Header: "h"})
		token, err := managed(t, machine, nil)
		return sawApp(t, token, err)
	})
	flow(t, client, "ManagedIdentityCredential, App Service, by resource id", func(t *testing.T) string {
		machine := served(t, e, entratest.ManagedIdentity{Service: entratest.AppService, Header: "h"})
		token, err := managed(t, machine, azidentity.ResourceID(shop))
		return sawApp(t, token, err)
	})
	flow(t, client, "ManagedIdentityCredential, App Service, unknown identity", func(t *testing.T) string {
		machine := served(t, e, entratest.ManagedIdentity{Service: entratest.AppService, Header: "h"})
		_, err := managed(t, machine, azidentity.ClientID(daemonID))
		require.ErrorContains(t, err, "Identity not found")
		return "refused: Identity not found"
	})
	flow(t, client, "ManagedIdentityCredential, virtual machine (IMDS), system-assigned", func(t *testing.T) string {
		machine := served(t, e, entratest.ManagedIdentity{Service: entratest.VirtualMachine, ClientID: machineID})
		token, err := managed(t, machine, nil)
		return sawApp(t, token, err)
	})
	flow(t, client, "ManagedIdentityCredential, virtual machine (IMDS), by client id", func(t *testing.T) string {
		machine := served(t, e, entratest.ManagedIdentity{Service: entratest.VirtualMachine})
		token, err := managed(t, machine, azidentity.ClientID(machineID))
		return sawApp(t, token, err)
	})
	flow(t, client, "ManagedIdentityCredential, virtual machine (IMDS), unknown identity", func(t *testing.T) string {
		machine := served(t, e, entratest.ManagedIdentity{Service: entratest.VirtualMachine})
		_, err := managed(t, machine, azidentity.ClientID(daemonID))
		require.ErrorContains(t, err, "Identity not found")
		return "refused: Identity not found"
	})
	flow(t, client, "ManagedIdentityCredential, Azure Arc", func(t *testing.T) string {
		const dir = "/var/opt/azcmagent/tokens"
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Skipf("not run: the agent's directory cannot be made: %v", err)
		}
		if _, err := os.Stat(himds); errors.Is(err, fs.ErrNotExist) && os.MkdirAll(filepath.Dir(himds), 0o755) == nil {
			_ = os.WriteFile(himds, nil, 0o755)
			t.Cleanup(func() { removeAgent(t) })
		}
		machine := served(t, e, entratest.ManagedIdentity{Service: entratest.AzureArc, ClientID: machineID})
		token, err := managed(t, machine, nil)
		return sawApp(t, token, err)
	})
}

func TestMSALGoConfidential(t *testing.T) {
	const client = "MSAL Go"
	e, key, cert := newDaemonTenant(t)
	authority := "https://login.microsoftonline.com/" + e.TenantID()
	byCertificate, err := confidential.NewCredFromCert([]*x509.Certificate{cert}, key)
	require.NoError(t, err)
	bySecret, err := confidential.NewCredFromSecret(daemonSecret)
	require.NoError(t, err)
	for name, cred := range map[string]confidential.Credential{"confidential client, secret": bySecret, "confidential client, certificate": byCertificate} {
		flow(t, client, name, func(t *testing.T) string {
			c, err := confidential.New(authority, daemonID, cred, confidential.WithHTTPClient(e.Client()))
			require.NoError(t, err)
			r, err := c.AcquireTokenByCredential(t.Context(), []string{ordersScope})
			return sawApp(t, r.AccessToken, err)
		})
	}
	flow(t, client, "confidential client, a scope instead of .default", func(t *testing.T) string {
		c, err := confidential.New(authority, daemonID, bySecret, confidential.WithHTTPClient(e.Client()))
		require.NoError(t, err)
		_, err = c.AcquireTokenByCredential(t.Context(), []string{"api://orders/Orders.Read.All"})
		return sawCall(t, err, 1002012)
	})
	onBehalf := func(t *testing.T, assertion, secret string) (confidential.AuthResult, error) {
		cred, err := confidential.NewCredFromSecret(secret)
		require.NoError(t, err)
		c, err := confidential.New(authority, ordersID, cred, confidential.WithHTTPClient(e.Client()))
		require.NoError(t, err)
		return c.AcquireTokenOnBehalfOf(t.Context(), assertion, []string{userRead})
	}
	user, err := public.New(frontID, public.WithAuthority(authority), public.WithHTTPClient(e.Client()))
	require.NoError(t, err)
	signedIn, err := ropc(t, user, []string{"api://orders/user_impersonation"}, alice, alicePwd)
	require.NoError(t, err)
	flow(t, client, "on behalf of a user", func(t *testing.T) string {
		r, err := onBehalf(t, signedIn.AccessToken, ordersSecret)
		require.NoError(t, err)
		claims := claimsOf(t, r.AccessToken)
		require.Equal(t, alice, claims["upn"])
		require.Equal(t, ordersID, claims["appid"])
		return "token of the user for Graph"
	})
	flow(t, client, "on behalf of a user, a token for another resource", func(t *testing.T) string {
		graph, err := ropc(t, user, []string{userRead}, alice, alicePwd)
		require.NoError(t, err)
		_, err = onBehalf(t, graph.AccessToken, ordersSecret)
		return sawCall(t, err, 500131)
	})
	flow(t, client, "on behalf of a user, wrong secret", func(t *testing.T) string {
		_, err := onBehalf(t, signedIn.AccessToken, "x")
		return sawCall(t, err, 7000215)
	})
}

func TestMSALGoManaged(t *testing.T) {
	const client = "MSAL Go"
	e, _, _ := newDaemonTenant(t)
	managed := func(t *testing.T, machine *http.Client, id managedidentity.ID) (string, error) {
		t.Helper()
		c, err := managedidentity.New(id, managedidentity.WithHTTPClient(machine))
		require.NoError(t, err)
		r, err := c.AcquireToken(t.Context(), "api://orders")
		return r.AccessToken, err
	}
	flow(t, client, "managed identity, virtual machine (IMDS), system-assigned", func(t *testing.T) string {
		machine := served(t, e, entratest.ManagedIdentity{Service: entratest.VirtualMachine, ClientID: machineID})
		token, err := managed(t, machine, managedidentity.SystemAssigned())
		return sawApp(t, token, err)
	})
	flow(t, client, "managed identity, App Service, by resource id", func(t *testing.T) string {
		machine := served(t, e, entratest.ManagedIdentity{Service: entratest.AppService, Header: "h"})
		token, err := managed(t, machine, managedidentity.UserAssignedResourceID(shop))
		return sawApp(t, token, err)
	})
}

// pemOf writes key and certificate as clients of other languages read them.
func pemOf(t *testing.T, key *rsa.PrivateKey, cert *x509.Certificate) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "daemon.pem")
	text := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	require.NoError(t, os.WriteFile(file, text, 0o600))
	return file
}

func TestMSALPythonConfidential(t *testing.T) {
	const client = "MSAL Python"
	e, key, cert := newDaemonTenant(t)
	user, err := public.New(frontID, public.WithAuthority("https://login.microsoftonline.com/"+e.TenantID()), public.WithHTTPClient(e.Client()))
	require.NoError(t, err)
	signedIn, err := ropc(t, user, []string{"api://orders/user_impersonation"}, alice, alicePwd)
	require.NoError(t, err)

	sum := sha1.Sum(cert.Raw)
	file, err := filepath.Abs(filepath.Join("testdata", "apponly.py"))
	require.NoError(t, err)
	cmd := running.command(t, "python", file, e.TenantID(), pemOf(t, key, cert), hex.EncodeToString(sum[:]),
		e.FederatedToken(entratest.FederatedCredential{Issuer: cluster, Subject: account}), signedIn.AccessToken)
	cmd.Env, cmd.Stderr = e.env, os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	for line := range strings.Lines(string(out)) {
		var r struct {
			Flow string `json:"flow"`
			reply
		}
		require.NoError(t, json.Unmarshal([]byte(line), &r))
		flow(t, client, r.Flow, func(t *testing.T) string {
			switch r.Flow {
			case "confidential client, a wrong secret":
				require.Equal(t, 7000215, r.code())
				return r.saw()
			case "on behalf of a user":
				require.Equal(t, alice, claimsOf(t, r.AccessToken)["upn"], line)
				return "token of the user for Graph"
			}
			require.NotEmpty(t, r.AccessToken, line)
			return sawApp(t, r.AccessToken, nil)
		})
	}
}
