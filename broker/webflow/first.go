package webflow

import (
	"cmp"
	"context"
	"net/url"
	"strings"

	"github.com/prtbroker/prtbroker/broker"
)

// A credentials is the answer of GetCredentialType.
type credentials struct {
	IfExistsResult int
	ThrottleStatus int
	FlowToken      string
	Credentials    struct {
		PrefCredential                                    int
		HasPassword, HasFido, HasRemoteNGC, HasAccessPass bool
		FederationRedirectURL                             string `json:"FederationRedirectUrl"`
		RemoteNgcParams                                   *phoneParams
		FidoParams                                        *struct{ AllowList []string }
	}
}

// Values of IfExistsResult and PrefCredential.
const (
	existsNot       = 1
	existsThrottled = 2

	prefersPhone = 2
	prefersKey   = 7
)

// types asks which credentials the user has. If ring is set and the user prefers
// the phone, the phone is made to ask for approval.
func (f *Flow) types(ctx context.Context, ring bool) (*credentials, error) {
	in := map[string]any{
		"username": f.at.User, "isOtherIdpSupported": true, "checkPhones": true, "isRemoteNGCSupported": ring,
		"isCookieBannerShown": false, "isFidoSupported": true, "isAccessPassSupported": true,
		"originalRequest": f.at.View.Ctx, "flowToken": f.at.View.Token,
	}
	out := new(credentials)
	if err := f.ask(ctx, "urlGetCredentialType", f.at.View.Types, in, out); err != nil {
		return nil, err
	}
	switch {
	case out.IfExistsResult == existsThrottled || out.ThrottleStatus == 1:
		return nil, failed("the service is throttling questions about the credentials of users", broker.ErrThrottled)
	case out.IfExistsResult < 0 || out.IfExistsResult == 4:
		return nil, failed("the service cannot say which credentials the user has", broker.ErrTransient)
	}
	f.at.View.Token = cmp.Or(out.FlowToken, f.at.View.Token)
	return out, nil
}

// beginFirst asks for the first factor: the one that the service prefers for the
// user, of those that the user has.
func (f *Flow) beginFirst(ctx context.Context) error {
	t, err := f.types(ctx, !f.at.Quiet)
	if err != nil {
		return err
	}
	c := t.Credentials
	if c.FederationRedirectURL != "" {
		u, err := url.Parse(c.FederationRedirectURL)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
			return failed("the federation server of the user's domain has no https address: "+deviceCode, ErrPage)
		}
		f.at.Federation, f.web.federation = c.FederationRedirectURL, strings.ToLower(u.Host)
		f.askFirst(MethodPassword)
		return nil
	}
	if t.IfExistsResult == existsNot && !f.at.Quiet {
		return failed("the directory has no such user", broker.ErrUserNotFound)
	}
	f.at.Have = nil
	for _, m := range []struct {
		id  string
		has bool
	}{{MethodPassword, c.HasPassword || f.at.Quiet}, {MethodAccessPass, c.HasAccessPass}, {MethodPhone, c.HasRemoteNGC}, {MethodKey, c.HasFido}} {
		if m.has {
			f.at.Have = append(f.at.Have, m.id)
		}
	}
	if c.FidoParams != nil {
		f.at.Allow = c.FidoParams.AllowList
	}
	switch {
	case f.at.Quiet:
		f.askFirst(MethodPassword)
	case c.RemoteNgcParams != nil:
		return f.ringing(*c.RemoteNgcParams)
	case c.HasAccessPass:
		f.askFirst(MethodAccessPass)
	case c.HasFido && (c.PrefCredential == prefersKey || !c.HasPassword):
		return f.beginFirstKey(ctx)
	case c.HasPassword:
		f.askFirst(MethodPassword)
	default:
		return failed("the user has no credential that can be used here: "+deviceCode, ErrNoMethod)
	}
	return nil
}

// askFirst makes the challenge of a first factor.
func (f *Flow) askFirst(id string) {
	m := firsts[id]
	f.at.Challenge = Challenge{Kind: m.kind, Method: id, Message: m.message}
	for _, other := range f.at.Have {
		if other != id {
			f.at.Challenge.Methods = append(f.at.Challenge.Methods, Method{other, firsts[other].label})
		}
	}
}
