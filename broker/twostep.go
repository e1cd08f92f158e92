package broker

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
// service takes no PRT (AADSTS50132): the app's plain refresh token is needed
// in between.
const deviceServiceScheme = "ms-device-service://"

func (q *tokenRequest) isTwoStep() bool {
	return strings.HasPrefix(strings.ToLower(q.resource), deviceServiceScheme)
}

// exchangeTwice sends the PRT for a refresh token of the app, and that, once,
// for the token. It is the one refresh token of an exchange that is used, and
// it is dropped with the call.
func (b *Broker) exchangeTwice(ctx context.Context, op string, t *prt.Token, s prt.Session, q tokenRequest) (*prt.Reply, *sts.Reply, error) {
	first := q
	first.resource, first.pop, first.claims, first.cae = "", nil, "", false
	tokens, rep, err := b.exchangeOnce(ctx, op, t, s, first)
	if err != nil {
		return nil, rep, opError(op, err)
	}
	refresh := tokens.RefreshToken
	defer refresh.Clear()
	if refresh.IsZero() {
		return nil, rep, &Error{Op: op, detail: "the reply has no refresh token, which a remote desktop's token is made of", CorrelationID: rep.CorrelationID}
	}
	wanted, err := q.claimsRequest()
	if err != nil {
		return nil, nil, err
	}
	v := url.Values{
		"grant_type":    {wire.GrantRefreshToken},
		"client_id":     {q.app.ClientID},
		"refresh_token": {refresh.Reveal()},
		"scope":         {strings.Join(append(slices.Clone(q.scopes), "openid", "profile"), " ")},
	}
	if wanted != "" {
		v.Set("claims", wanted)
	}
	if q.pop != nil {
		v.Set("token_type", "pop")
		v.Set("req_cnf", q.pop.confirmation)
	}
	tokens, err = b.sts.Grant(ctx, q.tenant, wire.PathTokenV2, v)
	if err != nil {
		return nil, rep, opError(op, err)
	}
	return tokens, rep, opError(op, b.checkToken(op, q, tokens, rep))
}
