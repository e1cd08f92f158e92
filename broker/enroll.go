package broker

import (
	"context"

	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
)

// A RegisterRequest says how to register this machine.
type RegisterRequest struct {
	// Credential authenticates the user who registers: AuthCode, WebFlow,
	// DeviceCodeFlow or RefreshToken of the broker client, or Password where
	// the tenant asks for no MFA.
	Credential Credential
	// JoinType is prt.JoinEntra when zero.
	JoinType prt.JoinType
	// TargetDomain is a domain of the tenant. Empty: Config.Tenant.
	TargetDomain string
	// OnPremises is needed by prt.JoinHybrid and by nothing else.
	OnPremises *OnPremises
	// Progress, if not nil, is called with each step as it begins. It must return
	// soon. Making keys in a hardware TPM takes up to 15 seconds each.
	Progress func(Step)
}

// An EnrollRequest says how to register this machine and sign in.
type EnrollRequest struct {
	JoinType     prt.JoinType // prt.JoinEntra when zero
	TargetDomain string       // as in RegisterRequest
	Progress     func(Step)   // as in RegisterRequest
}

// A Step is a step of a registration.
type Step string

// The steps, in their order. A step that is not needed is left out.
const (
	StepSignIn       Step = "sign in"             // the user, if the credential needs one
	StepDiscover     Step = "discover"            // the tenant and its registration service
	StepDeviceKey    Step = "device key"          // made in the key store
	StepTransportKey Step = "transport key"       // made in the key store
	StepSaveKeys     Step = "save keys"           // before anything is sent
	StepRequest      Step = "request certificate" // the registration itself
	StepSave         Step = "save certificate"
	StepPRT          Step = "primary refresh token" // Enroll only
)

// RegisterDevice registers this machine and keeps its certificate. A device
// that is already registered is returned as it is, with Existing set, and the
// credential is not used. An interrupted registration is resumed with the same
// keys. Two processes that share the store register once.
func (b *Broker) RegisterDevice(ctx context.Context, req RegisterRequest) (_ *Device, err error) {
	const op = "register device"
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave(&err)
	if d, err := b.registered(ctx, req.JoinType); d != nil || err != nil {
		return d, opError(op, err)
	}
	if req.JoinType == prt.JoinHybrid {
		d, err := b.register(ctx, req, nil)
		return d, opError(op, err)
	}
	req.step(StepSignIn)
	t, err := b.signIns.brokerClientToken(ctx, op, asPage(req.Credential), wire.ResourceRegistrationApp)
	if err != nil {
		return nil, opError(op, err)
	}
	d, err := b.register(ctx, req, t)
	return d, opError(op, err)
}

// registered returns the device if it is registered, nil if it is not.
func (b *Broker) registered(ctx context.Context, want prt.JoinType) (*Device, error) {
	d, err := b.devices.Registered(ctx, want)
	if d == nil || err != nil {
		return nil, err
	}
	out := deviceOf(d)
	out.Existing = true
	return out, nil
}

// register registers the device; token is for the registration service, nil when
// the computer of a hybrid device proves itself.
func (b *Broker) register(ctx context.Context, req RegisterRequest, token *prt.Reply) (_ *Device, err error) {
	ctx, end := b.cfg.span(ctx, "register device")
	defer func() { end(err) }()
	r := device.Request{JoinType: req.JoinType, Domain: req.TargetDomain, Computer: (*device.Computer)(req.OnPremises), Step: func(s string) { req.step(Step(s)) }}
	if token != nil {
		r.Token = token.AccessToken
	}
	d, existing, err := b.devices.Register(ctx, r)
	if err != nil {
		return nil, err
	}
	out := deviceOf(d)
	out.Existing = existing
	if !existing {
		b.cfg.Logger.InfoContext(ctx, "device registered", "device", out.ID, "tenant", out.TenantID, "type", req.JoinType.String())
	}
	return out, nil
}

func (r *RegisterRequest) step(s Step) {
	if r.Progress != nil {
		r.Progress(s)
	}
}

// Enroll registers this machine and signs the user in with one prompt: the
// refresh token of one sign-in authorizes the registration and becomes the PRT,
// with the MFA that was done for it. On a registered device it is the same as
// SignIn. It returns the account; call AcquireTokenSilent next.
func (b *Broker) Enroll(ctx context.Context, cred Credential, req EnrollRequest) (_ AuthResult, err error) {
	const op = "enroll"
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return AuthResult{}, err
	}
	defer leave(&err)
	cred = asPage(cred)
	rr := RegisterRequest{Credential: cred, JoinType: req.JoinType, TargetDomain: req.TargetDomain, Progress: req.Progress}
	if req.JoinType == prt.JoinHybrid {
		return AuthResult{}, &Error{Op: op, detail: "register a hybrid device with RegisterDevice"}
	}
	d, err := b.registered(ctx, req.JoinType)
	if err != nil {
		return AuthResult{}, opError(op, err)
	}
	if d != nil {
		rr.step(StepPRT)
		res, err := b.SignIn(ctx, cred)
		return res, opError(op, err)
	}
	if err := b.cfg.checkKeys(ctx); err != nil {
		return AuthResult{}, opError(op, err)
	}
	rr.step(StepSignIn)
	t, err := b.signIns.brokerClientToken(ctx, op, cred, wire.ResourceRegistrationApp)
	if err != nil {
		return AuthResult{}, opError(op, err)
	}
	from := provenanceOf(cred, t, b.cfg.Now()) // before the registration, which takes time
	if _, err := b.register(ctx, rr, t); err != nil {
		return AuthResult{}, opError(op, err)
	}
	rr.step(StepPRT)
	res, err := b.issue(ctx, op, prt.RefreshTokenGrant{Token: t.RefreshToken}, from, Account{})
	return res, opError(op, err)
}

// checkKeys asks the key store, if it can tell, whether it can do everything
// that a registered device needs, before a credential is used for something
// that cannot be completed.
func (c *Config) checkKeys(ctx context.Context) error {
	k, ok := c.Keys.(interface{ Check(context.Context) error })
	if !ok {
		return nil
	}
	if err := k.Check(ctx); err != nil {
		return keyError("enroll", err)
	}
	return nil
}
