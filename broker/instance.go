package broker

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
)

// place is the cloud that a broker works in, as it is known by now.
type place struct {
	Cloud
	movable bool // the configuration named none: the tenant's own is found
	known   bool // its login host is one of Microsoft's
}

func (b *Broker) cloud() Cloud { return b.place.Load().Cloud }

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

// moveTo goes to the cloud that an error reply (AADSTS90038) names, when the
// configuration named none and it is another one of the clouds that this
// package knows: a reply cannot send credentials anywhere else. It reports
// whether the request is to be sent again.
func (b *Broker) moveTo(from *place, description string) bool {
	if !from.movable {
		return false
	}
	for _, m := range quotedName.FindAllStringSubmatch(description, -1) {
		c, ok := clouds[strings.TrimPrefix(strings.ToLower(m[1]), "login.")]
		if ok && c.LoginHost != from.LoginHost {
			b.settle(c)
			return true
		}
	}
	return false
}

// settle makes c the cloud, for good: a reply there does not move it again.
func (b *Broker) settle(c *Cloud) {
	b.cfg.Logger.Info("the tenant is in another cloud", "login_host", c.LoginHost)
	b.place.Store(&place{Cloud: *c, known: true})
}

// returnTo goes to the cloud where the device was registered, by the token
// endpoint in its record.
func (b *Broker) returnTo(endpoint string) {
	u, err := url.Parse(endpoint)
	if err != nil || !b.place.Load().movable {
		return
	}
	for _, c := range clouds {
		if u.Host == c.LoginHost && c.LoginHost != b.cloud().LoginHost {
			b.settle(c)
			return
		}
	}
}

// verifyCloud asks the public cloud, once, whether the configured login host
// is one of Microsoft's, before a credential is sent there or made for it, a
// user is led there, or it is believed about where a password goes. An answer
// is kept as long as the broker; for failures the circuit of the endpoint sees
// to it that it is not asked too often.
func (b *Broker) verifyCloud(ctx context.Context) error {
	if b.place.Load().known {
		return nil
	}
	_, err := do(ctx, &b.flights, "instance", func(ctx context.Context) (struct{}, error) {
		at := b.place.Load()
		if at.known {
			return struct{}{}, nil
		}
		if err := b.instance(ctx, at.LoginHost); err != nil {
			return struct{}{}, err
		}
		verified := *at
		verified.known = true
		b.place.Store(&verified)
		return struct{}{}, nil
	})
	return err
}

func (b *Broker) instance(ctx context.Context, host string) error {
	q := url.Values{
		"api-version":            {"1.1"},
		"authorization_endpoint": {"https://" + host + "/common" + wire.PathAuthorizeV2},
	}
	r, err := b.client.do(ctx, request{method: http.MethodGet, url: "https://" + wire.LoginHost + wire.PathInstance + "?" + q.Encode()})
	if err != nil {
		return err
	}
	if !r.ok() {
		return serviceError("", prt.ParseError(r.status, r.body), r, grantUser, b.cfg.Now())
	}
	return nil
}
