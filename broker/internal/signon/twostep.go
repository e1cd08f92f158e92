package signon

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
)

// deviceServiceScheme begins the resources of remote desktops, for which the
// service accepts no PRT (AADSTS50132): the app's plain refresh token is needed
// as an intermediate step.
const deviceServiceScheme = "ms-device-service://"

func (q *Request) isTwoStep() bool {
	return strings.HasPrefix(strings.ToLower(q.Resource), deviceServiceScheme)
}

// firstStep asks for a refresh token of the app.
func (q *Request) firstStep() Request {
	first := *q
	first.Resource, first.Confirmation, first.Claims = "", "", ""
	return first
}

// secondStep exchanges the refresh token of the first step, once, for the
// token. It is the only refresh token of an exchange that is used, and it is
// dropped here.
func (e *Engine) secondStep(ctx context.Context, q Request, tokens *prt.Reply, rep *sts.Reply) (*prt.Reply, error) {
	refresh := tokens.RefreshToken
	defer refresh.Clear()
	if refresh.IsZero() {
		return nil, &sts.Error{Detail: "the reply has no refresh token, which a remote desktop token is made from", CorrelationID: rep.CorrelationID}
	}
	v := url.Values{
		"grant_type":    {wire.GrantRefreshToken},
		"client_id":     {q.ClientID},
		"refresh_token": {refresh.Reveal()},
		"scope":         {strings.Join(append(slices.Clone(q.Scopes), "openid", "profile"), " ")},
	}
	if q.Claims != "" {
		v.Set("claims", q.Claims)
	}
	sts.Bind(v, q.Confirmation)
	tokens, err := e.cfg.Services.Grant(ctx, q.Tenant, wire.PathTokenV2, v)
	if err != nil {
		return nil, err
	}
	return tokens, e.checkToken(q, tokens, rep)
}
