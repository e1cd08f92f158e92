package sts

import (
	"fmt"
	"net/url"
	"slices"

	"github.com/prtbroker/prtbroker/internal/wire"
)

// A Cloud is a national cloud, given by the hosts of its services. Its fields
// are those of the broker's Cloud, where they are documented.
type Cloud struct {
	LoginHost                     string
	RegistrationHost              string
	GraphHost                     string
	Environment                   string
	Aliases                       []string
	InsecureSkipInstanceDiscovery bool
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

// WithDefaults returns the cloud with its empty fields filled in.
func (c Cloud) WithDefaults() Cloud {
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

// Check reports what is wrong with the hosts.
func (c Cloud) Check() error {
	for _, h := range append([]string{c.LoginHost, c.RegistrationHost, c.GraphHost, c.Environment}, c.Aliases...) {
		u, err := url.Parse("https://" + h)
		if err != nil || u.Host != h || h == "" {
			return fmt.Errorf("%q is not a host", h)
		}
	}
	return nil
}

// Login is an address of the sign-in service.
func (c Cloud) Login(tenant, path string) string {
	return "https://" + c.LoginHost + "/" + url.PathEscape(tenant) + path
}

// Graph is the resource of scopes that name none.
func (c Cloud) Graph() string { return "https://" + c.GraphHost }

// Registration is an address of the device registration service.
func (c Cloud) Registration(path string) string { return "https://" + c.RegistrationHost + path }
