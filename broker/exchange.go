package broker

import (
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/internal/signon"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
)

// exchangeRequest returns what the engine exchanges a PRT for.
func (b *Broker) exchangeRequest(q tokenRequest) (signon.Request, error) {
	wanted, err := q.claimsRequest()
	if err != nil {
		return signon.Request{}, err
	}
	x := signon.Request{
		Tenant: q.tenant, ClientID: q.app.ClientID, RedirectURI: q.app.redirect(b.cloud()), Resource: q.resource, Scopes: q.scopes,
		Claims: wanted, Confirmation: q.confirmation(), CorrelationID: q.correlationID,
	}
	return x, nil
}

// redirect returns the redirect URI that the app uses.
func (a App) redirect(c sts.Cloud) string {
	if a.RedirectURI != "" {
		return a.RedirectURI
	}
	return "https://" + c.LoginHost + "/common/oauth2/nativeclient"
}

func (c *callOptions) checkClaims() error {
	_, err := c.claimsRequest()
	return err
}

// capability is the client capability of continuous access evaluation.
const capability = "cp1"

// claimsRequest returns what the caller asks for, with its capabilities.
func (c *callOptions) claimsRequest() (string, error) {
	r, err := claims.ParseRequest(c.claims)
	if err != nil {
		return "", &Error{detail: "WithClaims needs the decoded JSON of a claims request", cause: err}
	}
	if c.cae {
		r = r.WithCapabilities(capability)
	}
	return r.String(), nil
}

// result builds the caller's result. A refresh token that came with the token
// is dropped: the PRT replaces it.
func (c *Config) result(q tokenRequest, t *prt.Token, r *prt.Reply, rep *sts.Reply) AuthResult {
	r.RefreshToken.Clear()
	// The caller gets wall-clock times only: with a monotonic reading they would
	// be wrong after a suspend.
	now := c.Now().Round(0)
	res := AuthResult{
		Account:       q.account,
		AccessToken:   r.AccessToken.Reveal(),
		IDToken:       r.IDToken.Reveal(),
		TokenType:     "Bearer",
		ExpiresOn:     r.Expiry(now),
		GrantedScopes: slices.Clip(r.Scopes),
		Metadata: ResultMetadata{
			Source:        SourcePRT,
			DeviceID:      t.DeviceID,
			CorrelationID: rep.CorrelationID,
			MFA:           t.Evidence,
			Encrypted:     r.Encrypted,
		},
	}
	if q.pop != nil {
		res.TokenType = popType
	}
	if r.RefreshIn > 0 {
		res.Metadata.RefreshOn = now.Add(r.RefreshIn)
	}
	return res
}

// checkGranted reports scopes that were asked for by name and not granted. A
// PRT is exchanged for everything that the app has consent for, so a missing
// scope lacks consent, which only the user or an administrator can give.
func (q *tokenRequest) checkGranted(op, graph string, res *AuthResult) error {
	if q.set.IsDefault() || len(res.GrantedScopes) == 0 {
		return nil
	}
	missing := q.set.Missing(res.GrantedScopes, graph)
	if len(missing) == 0 {
		return nil
	}
	return &Error{
		Op:       op,
		OAuth:    "consent_required",
		SubError: "consent_required",
		kind:     ErrInteractionRequired,
		detail:   "the app has no consent for " + aadsts.Clean(strings.Join(missing, " ")),
	}
}
