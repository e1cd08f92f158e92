package broker

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/internal/wire"
)

// A Cloud is a national cloud: where its services are. The zero value is the
// public cloud.
type Cloud struct {
	// LoginHost is the host of the sign-in service.
	LoginHost string
	// RegistrationHost is the host of the device registration service.
	RegistrationHost string
	// GraphHost is the host of Microsoft Graph, which scopes without a
	// resource belong to.
	GraphHost string
	// Environment is the name of the cloud's token cache, which account keys
	// carry. Empty: LoginHost.
	Environment string
	// Aliases are further hosts of the sign-in service, to which SSO cookies
	// may go.
	Aliases []string
}

// The national clouds. Their hosts are documented by Microsoft ("National
// clouds", Microsoft Graph and identity platform documentation).
var (
	// Public is the worldwide cloud.
	Public = Cloud{
		LoginHost:        wire.LoginHost,
		RegistrationHost: wire.RegistrationHost,
		GraphHost:        wire.GraphHost,
		Environment:      "login.windows.net",
		Aliases:          []string{"login.windows.net", "login.microsoft.com", wire.STSHost},
	}
	// USGovernment is the cloud of the US government.
	USGovernment = Cloud{
		LoginHost:        "login.microsoftonline.us",
		RegistrationHost: "enterpriseregistration.microsoftonline.us",
		GraphHost:        "graph.microsoft.us",
		Environment:      "login.microsoftonline.us",
		Aliases:          []string{"login.usgovcloudapi.net"},
	}
	// China is the cloud that 21Vianet operates. The host of its registration
	// service is not in a public document of Microsoft.
	China = Cloud{
		LoginHost:        "login.partner.microsoftonline.cn",
		RegistrationHost: "enterpriseregistration.partner.microsoftonline.cn",
		GraphHost:        "microsoftgraph.chinacloudapi.cn",
		Environment:      "login.partner.microsoftonline.cn",
		Aliases:          []string{"login.chinacloudapi.cn"},
	}
)

func (c Cloud) withDefaults() Cloud {
	if c.LoginHost == "" && c.RegistrationHost == "" {
		return Public
	}
	if c.GraphHost == "" {
		c.GraphHost = wire.GraphHost
	}
	if c.Environment == "" {
		c.Environment = c.LoginHost
	}
	c.Aliases = slices.Clone(c.Aliases)
	return c
}

func (c Cloud) check() error {
	for _, h := range append([]string{c.LoginHost, c.RegistrationHost, c.GraphHost, c.Environment}, c.Aliases...) {
		u, err := url.Parse("https://" + h)
		if err != nil || u.Host != h || h == "" || strings.ContainsAny(h, "/?#@ ") {
			return fmt.Errorf("broker: Config.Cloud: %q is no host", h)
		}
	}
	return nil
}

func (c Cloud) login(tenant, path string) string {
	return "https://" + c.LoginHost + "/" + url.PathEscape(tenant) + path
}

func (c Cloud) registration(path string) string { return "https://" + c.RegistrationHost + path }

// isLoginHost reports whether a cookie for the sign-in service may go to host.
func (c Cloud) isLoginHost(host string) bool {
	host = strings.ToLower(host)
	return host == c.LoginHost || slices.Contains(c.Aliases, host)
}
