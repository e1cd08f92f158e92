package broker

import (
	"context"
	"errors"
	"strings"

	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/broker/why"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/policy"
)

// A WhyInput asks why the user is, or is not, prompted when an app wants a
// token. Facts that only the service knows are given in Facts; a fact that is
// not given is not guessed.
type WhyInput struct {
	// Account is whose token is wanted; zero means the only account.
	Account Account
	// App is the client; zero means Config.App.
	App App
	// Scopes are those that the app asks for.
	Scopes []string
	// ResourceID is the application id by which policies know the resource of
	// Scopes. Empty: it is taken from Scopes if it is an application id there, or
	// if the resource is Graph; for scopes of OpenID Connect alone it is that of
	// the directory, which Conditional Access then evaluates.
	ResourceID string
	// Facts are known facts beyond the state here.
	Facts why.Facts
}

// Why says whether the user will be asked when an app wants a token, and why.
// It makes no request. It evaluates the policies that Config.Policies returns;
// without them the answer is Unknown, with what the service said last.
//
// The answer is Silent, Asked or Refused only if it follows from what is known.
// If a fact that a policy looks at is not known, and its possible values lead
// to different answers, the answer is Unknown and names the fact.
func (b *Broker) Why(ctx context.Context, in WhyInput) (_ why.Explanation, err error) {
	const op = "why"
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return why.Explanation{}, err
	}
	defer leave(&err)
	if in.App.ClientID == "" {
		in.App = b.cfg.App
	}
	if in.App.ClientID == "" {
		return why.Explanation{}, errNoApp
	}
	resource, err := b.resource(in.Scopes)
	if err != nil {
		return why.Explanation{}, opError(op, err)
	}
	s, err := b.snapshot(ctx, in, resource)
	if err != nil {
		return why.Explanation{}, opError(op, err)
	}
	return why.Explain(s), nil
}

// Preflight is Why, returned as the decision of the policies. Its Outcome is
// Invalid when the answer does not depend on them or is not known.
func (b *Broker) Preflight(ctx context.Context, in WhyInput) (policy.Decision, error) {
	e, err := b.Why(ctx, in)
	if err != nil || e.Verdict == why.Unknown {
		return policy.Decision{}, err
	}
	return e.Decision, nil
}

// snapshot collects the facts that decide, as far as they are known here.
func (b *Broker) snapshot(ctx context.Context, in WhyInput, resource string) (why.Snapshot, error) {
	s := why.Snapshot{
		Now: b.cfg.Now(), ClientID: in.App.ClientID, Scopes: in.Scopes, Resource: resource, ResourceID: in.ResourceID,
		Facts: in.Facts, UserAgent: b.cfg.UserAgent,
	}
	if s.ResourceID == "" && policy.ScopesOf(in.Scopes) == policy.OpenIDScopes {
		s.ResourceID = wire.ResourceAADGraph
	}
	if s.ResourceID == "" {
		s.ResourceID = resourceID(resource, b.cloud().GraphHost)
	}
	if b.cfg.Policies != nil {
		s.Policies = b.cfg.Policies()
	}
	d, err := b.devices.Load(ctx)
	switch {
	case errors.Is(err, device.ErrNone):
		if s.Unbound = b.cfg.AllowUnbound; !s.Unbound {
			return s, nil // so no account has a PRT
		}
	case err != nil:
		return s, err
	default:
		info, err := b.cfg.Keys.Info(ctx)
		if err != nil {
			return s, keyError("why", err)
		}
		s.Device = &why.Device{
			ID: d.Cert.DeviceID, DisplayName: d.Record.DisplayName, OperatingSystem: b.cfg.Device.Type, OSVersion: b.cfg.Device.OSVersion,
			JoinType: d.Record.JoinType, NotBefore: d.Cert.NotBefore, NotAfter: d.Cert.NotAfter,
			Hardware: info.Hardware, KeyStore: strings.TrimSpace(info.Backend + " " + aadsts.Clean(info.Manufacturer)),
		}
	}
	s.Account, err = b.accountSnapshot(ctx, in, &s)
	return s, err
}

// accountSnapshot describes the account that is signed in and what is kept for
// it; nil when there is none.
func (b *Broker) accountSnapshot(ctx context.Context, in WhyInput, s *why.Snapshot) (*why.Account, error) {
	a, rec, err := b.accountFor(ctx, in.Account)
	if errors.Is(err, ErrNoAccount) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := &why.Account{ID: rec.Account.HomeAccountID, LocalID: rec.Account.LocalAccountID, Username: rec.Account.PreferredUsername, Locked: rec.Locked()}
	if rec.Hello != nil {
		out.Hello = &why.Hello{Software: rec.Hello.Software}
	}
	all, err := a.Log(ctx)
	if err != nil && !errors.Is(err, ErrStateDamaged) {
		return nil, err
	}
	for _, o := range observations(all) {
		if o.ClientID == s.ClientID && o.Resource == s.Resource {
			out.Last = &o
		}
	}
	if r, ok := b.tokens.inMemory(&callOptions{account: Account(rec.Account), app: in.App}, in.Scopes, s.Now); ok {
		out.TokenUntil = r.ExpiresOn
	}
	for _, p := range b.engine.Choices(rec) {
		out.PRTs = append(out.PRTs, why.PRT{
			Credential: p.Token.Credential, State: p.Token.State(s.Now), RenewedOn: p.Token.RenewedAt, ExpiresOn: p.Token.ExpiresAt,
			HasSessionKey: len(p.Token.SessionKey) > 0, Session: p.Session(),
		})
	}
	var over *Error
	if errors.As(obituary("", rec), &over) && over.Code != 0 {
		out.Over = over.detail
	}
	return out, nil
}

// resourceID returns the application id of a resource; empty when it is not
// known.
func resourceID(resource, graph string) string {
	switch r := strings.ToLower(resource); {
	case r == "https://"+graph, r == "https://"+graph+"/":
		return wire.ResourceGraphApp
	case guidPattern.MatchString(strings.TrimPrefix(r, "api://")):
		return strings.TrimPrefix(r, "api://")
	}
	return ""
}
