// Package entracontainer runs the emulated Entra tenant of examples/tenant in a
// container, with testcontainers-go:
//
//	tenant, err := entracontainer.Run(ctx, entracontainer.Image, entratest.Options{
//		Users: []entratest.User{{Username: "ann", Password: "correct horse"}},
//	})
//	defer func() { _ = testcontainers.TerminateContainer(tenant) }()
//	if err != nil {
//		return err
//	}
//	issuer := tenant.Authority() + "/v2.0"
//
// scripts/image builds the image. A Go test that does not need a container is better
// served by package entratest itself, which runs inside the test: the container is for
// programs that are containers themselves.
//
// It is a separate module, so that importers of the broker do not depend on
// testcontainers-go.
package entracontainer

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/internal/secret"
)

// Image is the tag that scripts/image gives to the image.
const Image = "prtbroker-tenant"

// Ports of the image.
const (
	authorityPort = "8443/tcp"
	proxyPort     = "8470/tcp"
	dashboardPort = "8471/tcp"
)

// configPath is where the configuration lies in the container.
const configPath = "/tenant.json"

// Container is a running tenant.
type Container struct {
	*testcontainers.DockerContainer

	base, dashboard, proxy string
	tenantID               string
	ca                     []byte
	token                  secret.Value
}

// Run starts the image and waits up to 60 s until the tenant is ready. It is an error
// if the options contain what only a server in the process can do: Clock, Logf, Judge,
// ClientAddress, State, passkeys, and faults with a Match.
//
// More options of testcontainers-go may follow. The tenant is an authority under the
// name of the Docker host and under every network alias that they give it: containers
// of the same network sign in at https://ALIAS:8443/.
//
// Run may return a container together with an error, as testcontainers.Run does, so
// that it can be cleaned up.
func Run(ctx context.Context, image string, o entratest.Options, opts ...testcontainers.ContainerCustomizer) (*Container, error) {
	provider, err := testcontainers.NewDockerProvider()
	if err != nil {
		return nil, fmt.Errorf("entracontainer: %w", err)
	}
	defer func() { _ = provider.Close() }()
	host, err := provider.DaemonHost(ctx)
	if err != nil {
		return nil, fmt.Errorf("entracontainer: %w", err)
	}
	token := rand.Text()
	own, err := request(o, host, token)
	if err != nil {
		return nil, fmt.Errorf("entracontainer: %w", err)
	}
	docker, err := testcontainers.Run(ctx, image, append(slices.Clone(opts), own)...)
	if docker == nil {
		return nil, fmt.Errorf("entracontainer: %w", err)
	}
	c := &Container{DockerContainer: docker, token: secret.FromString(token)}
	if err == nil {
		err = c.look(ctx)
	}
	if err != nil {
		return c, fmt.Errorf("entracontainer: %w", err)
	}
	return c, nil
}

// request adds the tenant to a request that the options of the caller have shaped. host
// is the name under which this process reaches the ports of containers.
func request(o entratest.Options, host, token string) (testcontainers.CustomizeRequestOption, error) {
	config, err := configOf(o)
	if err != nil {
		return nil, err
	}
	return func(r *testcontainers.GenericContainerRequest) error {
		if r.Env == nil {
			r.Env = map[string]string{}
		}
		names := strings.FieldsFunc(r.Env["TENANT_HOSTS"], func(c rune) bool { return c == ',' })
		names = append(names, "localhost", host)
		for _, aliases := range r.NetworkAliases {
			names = append(names, aliases...)
		}
		slices.Sort(names)
		r.Env["TENANT_HOSTS"] = strings.Join(slices.Compact(names), ",")
		r.Env["TENANT_API_TOKEN"] = token
		r.ExposedPorts = append(r.ExposedPorts, authorityPort, proxyPort, dashboardPort)
		r.Files = append(r.Files, testcontainers.ContainerFile{Reader: bytes.NewReader(config), ContainerFilePath: configPath, FileMode: 0o444})
		r.Cmd = append(r.Cmd, "-config", configPath)
		ready := wait.ForHTTP("/health").WithPort(dashboardPort)
		if r.WaitingFor == nil {
			r.WaitingFor = ready
		} else {
			r.WaitingFor = wait.ForAll(r.WaitingFor, ready)
		}
		return nil
	}, nil
}

// look finds the mapped ports, and asks the tenant for what is known only now.
func (c *Container) look(ctx context.Context) error {
	host, err := c.Host(ctx)
	if err != nil {
		return err
	}
	at := func(scheme, port string) (string, error) {
		p, err := c.MappedPort(ctx, port)
		if err != nil {
			return "", err
		}
		return scheme + "://" + net.JoinHostPort(host, p.Port()), nil
	}
	if c.base, err = at("https", authorityPort); err != nil {
		return err
	}
	if c.proxy, err = at("http", proxyPort); err != nil {
		return err
	}
	if c.dashboard, err = at("http", dashboardPort); err != nil {
		return err
	}
	return c.introduce(ctx)
}

// introduce fetches the certificate authority and the id of the tenant.
func (c *Container) introduce(ctx context.Context) (err error) {
	if c.ca, err = c.get(ctx, c.dashboard+"/ca.pem"); err != nil {
		return err
	}
	info, err := c.get(ctx, c.AdminURL()+"/tenant")
	if err != nil {
		return err
	}
	var tenant struct{ TenantID string }
	if err := json.Unmarshal(info, &tenant); err != nil {
		return fmt.Errorf("%s/tenant: %w", c.AdminURL(), err)
	}
	c.tenantID = tenant.TenantID
	return nil
}

// maxReply bounds what is read from the dashboard, in bytes.
const maxReply = 1 << 20

func (c *Container) get(ctx context.Context, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r) // not through a proxy
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxReply))
}

// BaseURL returns the URL of the sign-in service for this process, such as
// https://localhost:32768/. Microsoft Graph is below it, at graph.microsoft.com/v1.0.
func (c *Container) BaseURL() string { return c.base + "/" }

// Authority returns the authority of the tenant, without a slash at the end. Clients must
// trust [Container.CA] and must not look the authority up at Microsoft, as for
// [entratest.Server.Listen]. The issuer of version 2.0 tokens is Authority + "/v2.0".
func (c *Container) Authority() string { return c.base + "/" + c.tenantID }

// TenantID returns the id of the tenant, a GUID.
func (c *Container) TenantID() string { return c.tenantID }

// CA returns the PEM certificate of the authority that signed the tenant's TLS
// certificate.
func (c *Container) CA() []byte { return bytes.Clone(c.ca) }

// CertPool returns a pool that contains only [Container.CA].
func (c *Container) CertPool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(c.ca)
	return pool
}

// Client returns a client that trusts [Container.CA] and no other authority.
func (c *Container) Client() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.CertPool(), MinVersion: tls.VersionTLS12}}}
}

// ProxyURL returns the URL of the CONNECT proxy through which unmodified clients reach
// the tenant under Microsoft's host names.
func (c *Container) ProxyURL() *url.URL {
	u, err := url.Parse(c.proxy)
	if err != nil {
		panic("entracontainer: " + err.Error()) // a host and a port of ours
	}
	return u
}

// AdminURL returns the URL of the administration API, without a slash at the end.
// GET AdminURL + "/openapi.json" describes it; package
// [github.com/prtbroker/prtbroker/broker/entratest/admin] documents it.
func (c *Container) AdminURL() string { return c.dashboard + "/api" }

// AdminToken returns the bearer token of the administration API.
func (c *Container) AdminToken() string { return c.token.Reveal() }
