package sts

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/internal/wire"
)

// place is the cloud that a client works in, as known so far.
type place struct {
	Cloud
	movable bool // the configuration named none: the tenant's own is found
	known   bool // its login host is one of Microsoft's
}

// Cloud returns the cloud as known so far.
func (c *Client) Cloud() Cloud { return c.place.Load().Cloud }

// clouds are those that a tenant can be found in, by the names that the
// service gives them.
var clouds = map[string]*Cloud{
	"microsoftonline.com":        &Public,
	"microsoftonline.us":         &USGovernment,
	"partner.microsoftonline.cn": &China,
	"microsoftonline.cn":         &China,
	"chinacloudapi.cn":           &China,
}

// sovereign are login hosts of further clouds of Microsoft ("National clouds",
// Microsoft identity platform), whose other hosts are not public.
var sovereign = []string{"login.sovcloud-identity.fr", "login.sovcloud-identity.de", "login.sovcloud-identity.sg"}

func (c Cloud) known() bool {
	host := strings.ToLower(c.LoginHost)
	for _, k := range clouds {
		if host == k.LoginHost || slices.Contains(k.Aliases, host) {
			return true
		}
	}
	return c.InsecureSkipInstanceDiscovery || slices.Contains(sovereign, host)
}

var quotedName = regexp.MustCompile(`'([A-Za-z0-9.-]{1,64})'`)

// moveTo switches to the cloud that an error reply (AADSTS90038) names, if the
// configuration named none and it is another of the clouds that this package
// knows: a reply cannot send credentials anywhere else. It reports whether the
// request is to be sent again.
func (c *Client) moveTo(from *place, description string) bool {
	if !from.movable {
		return false
	}
	for _, m := range quotedName.FindAllStringSubmatch(description, -1) {
		to, ok := clouds[strings.TrimPrefix(strings.ToLower(m[1]), "login.")]
		if ok && to.LoginHost != from.LoginHost {
			c.settle(to)
			return true
		}
	}
	return false
}

// settle switches to the cloud for good: a reply there does not move the client
// again.
func (c *Client) settle(to *Cloud) {
	c.cfg.Logger.Info("the tenant is in another cloud", "login_host", to.LoginHost)
	c.place.Store(&place{Cloud: *to, known: true})
}

// Return goes to the cloud where the device was registered, by the token
// endpoint in its record.
func (c *Client) Return(endpoint string) {
	u, err := url.Parse(endpoint)
	if err != nil || !c.place.Load().movable {
		return
	}
	for _, to := range clouds {
		if u.Host == to.LoginHost && to.LoginHost != c.Cloud().LoginHost {
			c.settle(to)
			return
		}
	}
}

// Verify asks the public cloud, once, whether the configured login host is one
// of Microsoft's, before a credential is sent there or made for it, a user is
// sent there, or its word on where a password goes is trusted. An answer is
// kept as long as the client; after failures, the circuit of the endpoint
// prevents asking too often.
func (c *Client) Verify(ctx context.Context) error {
	if c.place.Load().known {
		return nil
	}
	_, _, err := c.instances.Do(ctx, "instance", func(ctx context.Context) (struct{}, error) {
		at := c.place.Load()
		if at.known {
			return struct{}{}, nil
		}
		if err := c.instance(ctx, at.LoginHost); err != nil {
			return struct{}{}, err
		}
		verified := *at
		verified.known = true
		c.place.Store(&verified)
		return struct{}{}, nil
	})
	return err
}

func (c *Client) instance(ctx context.Context, host string) error {
	q := url.Values{
		"api-version":            {"1.1"},
		"authorization_endpoint": {"https://" + host + "/common" + wire.PathAuthorizeV2},
	}
	r, err := c.Do(ctx, Request{Method: http.MethodGet, URL: "https://" + wire.LoginHost + wire.PathInstance + "?" + q.Encode(), Endpoint: InstanceDiscovery})
	if err != nil {
		return err
	}
	if !r.OK() {
		return Refusal(r, ByUser)
	}
	return nil
}
