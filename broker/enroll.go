package broker

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

// A RegisterRequest says how to register this machine.
type RegisterRequest struct {
	// Credential authenticates the user who registers: AuthCode,
	// DeviceCodeFlow or RefreshToken of the broker client, or Password where
	// the tenant asks for no MFA.
	Credential Credential
	// JoinType is Join when zero.
	JoinType JoinType
	// TargetDomain is a domain of the tenant. Empty: Config.Tenant.
	TargetDomain string
	// OnPremises is needed by Hybrid and by nothing else.
	OnPremises *OnPremises
	// Progress, if not nil, is told each step as it begins. It must return
	// soon. Making keys in a hardware TPM takes up to 15 seconds each.
	Progress func(Step)
}

// An EnrollRequest says how to register this machine and sign in.
type EnrollRequest struct {
	JoinType     JoinType   // Join when zero
	TargetDomain string     // as in RegisterRequest
	Progress     func(Step) // as in RegisterRequest
}

// A Step is a step of a registration.
type Step string

// Steps, in their order. A step that is not needed is left out.
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
// that is registered already is returned as it is, with Existing set, and the
// credential is not used. A registration that was interrupted is taken up with
// the same keys. Two processes that share the store register once.
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
	if req.JoinType == Hybrid {
		d, err := b.register(ctx, op, req, nil)
		return d, opError(op, err)
	}
	req.step(StepSignIn)
	t, err := b.brokerToken(ctx, op, req.Credential, b.registrationResource())
	if err != nil {
		return nil, opError(op, err)
	}
	d, err := b.register(ctx, op, req, t)
	return d, opError(op, err)
}

// registrationResource is the registration service by its application id,
// which is the same in every cloud; its URI names a host of one.
func (b *Broker) registrationResource() string { return wire.ResourceRegistrationApp }

// registered returns the device if it is registered, nil if it is not.
func (b *Broker) registered(ctx context.Context, want JoinType) (*Device, error) {
	d, err := b.devices.current(ctx)
	if errors.Is(err, errNone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if JoinType(d.record.JoinType) != want {
		return nil, &Error{detail: "the device is " + JoinType(d.record.JoinType).String() + " already; unregister it before it is " + want.String()}
	}
	out := deviceOf(d)
	out.Existing = true
	return out, nil
}

func (r *RegisterRequest) step(s Step) {
	if r.Progress != nil {
		r.Progress(s)
	}
}

// register makes the keys, saves them, asks for the certificate and saves it,
// in this order, so that a crash at any point leaves keys that the next call
// takes up and no device object without its keys.
func (b *Broker) register(ctx context.Context, op string, req RegisterRequest, token *brokerToken) (dev *Device, err error) {
	ctx, end := b.cfg.span(ctx, "register device")
	defer func() { end(err) }()
	release, err := vault.Lease(ctx, b.cfg.Store, "register")
	if err != nil {
		return nil, err
	}
	release, keep := vault.Shared(release)
	defer release()
	if d, err := b.registered(ctx, req.JoinType); d != nil || err != nil {
		return d, err // another process was faster
	}
	req.step(StepDiscover)
	stored, err := b.prepare(ctx, req)
	if err != nil {
		return nil, err
	}
	b.devices.registration.Store(uint64(stored.vault.KeyVersion())) // ForgetDevice ends an interrupted one, too
	saving := false
	defer func() {
		if !saving {
			stored.vault.Close()
		}
	}()
	key, transport, err := b.registrationKeys(ctx, &req, stored)
	if err != nil {
		return nil, err
	}
	done := false
	defer func() {
		if !done {
			_, _ = key.Close(), transport.Close()
		}
	}()
	cert, err := b.requestCertificate(ctx, op, &req, stored, key, transport, token)
	if err != nil {
		return nil, err
	}
	req.step(StepSave)
	existing := stored.record.Phase == phaseComplete // under another name of the tenant
	stored.record.Phase, stored.record.Certificate = phaseComplete, cert.DER
	if !existing {
		stored.record.Registered = b.cfg.Now()
	}
	saving = true // also when the caller goes away: the certificate is here
	leave := keep()
	err = b.finish(ctx, func(ctx context.Context) error {
		defer leave()
		defer stored.vault.Close()
		return stored.save(ctx)
	})
	if err != nil {
		return nil, err
	}
	done = true
	d := b.devices.keep(stored.with(cert, key, transport))
	b.cfg.Logger.InfoContext(ctx, "device registered", "device", cert.DeviceID, "tenant", stored.record.TenantID, "type", req.JoinType.String())
	out := deviceOf(d)
	out.Existing = existing
	return out, nil
}

// prepare returns the record of an interrupted registration, or a new one.
func (b *Broker) prepare(ctx context.Context, req RegisterRequest) (*storedDevice, error) {
	tenantID, err := b.sts.TenantID(ctx, b.cfg.Tenant)
	if err != nil {
		return nil, opError("find tenant", err)
	}
	owner := deviceOwner(tenantID)
	stored, err := b.devices.read(ctx, owner)
	if errors.Is(err, store.ErrNotFound) {
		v := vault.New(b.cfg.Keys, b.cfg.Store, b.cfg.Rand, owner)
		if err := v.Create(ctx); err != nil {
			return nil, err
		}
		stored = &storedDevice{vault: v, record: &deviceRecord{Version: vault.StateVersion, TenantID: tenantID}}
	} else if err != nil {
		return nil, err
	}
	r := stored.record
	if name := b.cfg.Tenant; name != tenantID && !slices.Contains(r.TenantNames, name) {
		r.TenantNames = append(r.TenantNames, name)
	}
	if r.Phase == phaseComplete {
		// Registered under another name of the same tenant.
		return stored, nil
	}
	r.JoinType = prt.JoinType(req.JoinType)
	r.DisplayName = b.cfg.Device.DisplayName
	r.Endpoints = b.sts.Discover(ctx, tenantID)
	return stored, nil
}

// registrationKeys opens the keys of an interrupted registration, or makes
// them and saves them before anything is sent.
func (b *Broker) registrationKeys(ctx context.Context, req *RegisterRequest, stored *storedDevice) (tpm.Signer, tpm.Key, error) {
	r := stored.record
	if r.DeviceKey != nil && r.TransportKey != nil {
		return b.devices.openKeys(ctx, r)
	}
	req.step(StepDeviceKey)
	k, err := b.cfg.Keys.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Sign})
	if err != nil {
		return nil, nil, keyError("making the device key", err)
	}
	key, ok := k.(tpm.Signer)
	if !ok {
		return nil, nil, errors.New("broker: the key store made a device key that does not sign")
	}
	req.step(StepTransportKey)
	transport, err := b.cfg.Keys.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Unwrap})
	if err != nil {
		_ = key.Close()
		return nil, nil, keyError("making the transport key", err)
	}
	req.step(StepSaveKeys)
	r.Phase, r.DeviceKey, r.TransportKey = phaseKeys, key.Blob(), transport.Blob()
	if err := stored.save(ctx); err != nil {
		_, _ = key.Close(), transport.Close()
		return nil, nil, err
	}
	return key, transport, nil
}

// requestCertificate sends the request. The record says before that it may
// have been sent: a registration that is taken up later asks to have the same
// device object back.
func (b *Broker) requestCertificate(ctx context.Context, op string, req *RegisterRequest, stored *storedDevice, key tpm.Signer, transport tpm.Key, token *brokerToken) (*prt.DeviceCertificate, error) {
	r := stored.record
	if r.Phase == phaseComplete {
		return prt.ParseDeviceCertificate(r.Certificate)
	}
	join := prt.JoinRequest{
		DeviceKey:    key,
		TransportKey: transport.Public(),
		Type:         prt.JoinType(req.JoinType),
		Domain:       req.TargetDomain,
		DeviceType:   b.cfg.Device.Type,
		DisplayName:  b.cfg.Device.DisplayName,
		OSVersion:    b.cfg.Device.OSVersion,
		Reuse:        r.Phase == phaseRequested,
		Rand:         b.cfg.Rand,
	}
	if join.Domain == "" {
		join.Domain = b.cfg.Tenant
	}
	if r.Phase != phaseRequested {
		r.Phase = phaseRequested
		if err := stored.save(ctx); err != nil {
			return nil, err
		}
	}
	req.step(StepRequest)
	if req.JoinType == Hybrid {
		return b.hybridJoin(ctx, op, req, r, join)
	}
	body, err := join.Marshal(ctx)
	if err != nil {
		return nil, err
	}
	rep, err := b.sts.Do(ctx, sts.Request{
		Method:      http.MethodPost,
		Once:        true,
		URL:         sts.WithVersion(r.Endpoints.Join, r.Endpoints.JoinVersion),
		ContentType: "application/json",
		Body:        body,
		Bearer:      token.AccessToken,
	})
	if err != nil {
		return nil, opError(op, err)
	}
	return readCertificate(op, rep, key)
}

func readCertificate(op string, rep *sts.Reply, key tpm.Signer) (*prt.DeviceCertificate, error) {
	if !rep.OK() {
		return nil, opError(op, sts.RegistrationError(rep))
	}
	joined, err := prt.ParseJoin(rep.Body)
	if err != nil {
		return nil, opError(op, sts.Malformed(rep, err))
	}
	if !joined.Certificate.Matches(key.Public()) {
		return nil, &Error{Op: op, detail: "the certificate is not for the device key of this machine", CorrelationID: rep.CorrelationID}
	}
	return joined.Certificate, nil
}

// brokerToken gets the broker client's token for a resource by a credential.
// AuthCode and DeviceCodeFlow have the user do something.
func (b *Broker) brokerToken(ctx context.Context, op string, cred Credential, resource string) (*brokerToken, error) {
	switch c := cred.(type) {
	case AuthCode:
		return b.byAuthCode(ctx, op, resource, c)
	case DeviceCodeFlow:
		return b.byDeviceCode(ctx, op, resource, c.MFA)
	case RefreshToken:
		return b.refreshBroker(ctx, op, prt.NewSecret(c.Token), resource)
	case Password:
		t, err := b.sts.Grant(ctx, b.cfg.Tenant, wire.PathToken, url.Values{
			"grant_type": {wire.GrantPassword},
			"client_id":  {wire.ClientBroker},
			"resource":   {resource},
			"username":   {c.Username},
			"password":   {c.Password},
			"scope":      {wire.ScopeOpen},
		})
		return t, opError(op, err)
	case nil:
		return nil, &Error{Op: op, detail: "a credential is required"}
	}
	return nil, &Error{Op: op, detail: "this credential gives no refresh token of the broker client: use AuthCode, DeviceCodeFlow, RefreshToken or Password"}
}

// Enroll registers this machine and signs the user in with one prompt: the
// refresh token of one sign-in buys the registration and becomes the PRT, with
// the MFA that was done for it. On a registered device it is SignIn. It
// returns the account; AcquireTokenSilent is next.
func (b *Broker) Enroll(ctx context.Context, cred Credential, req EnrollRequest) (_ AuthResult, err error) {
	const op = "enroll"
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return AuthResult{}, err
	}
	defer leave(&err)
	rr := RegisterRequest{Credential: cred, JoinType: req.JoinType, TargetDomain: req.TargetDomain, Progress: req.Progress}
	if req.JoinType == Hybrid {
		return AuthResult{}, &Error{Op: op, detail: "a hybrid device is registered by RegisterDevice"}
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
	rr.step(StepSignIn)
	t, err := b.brokerToken(ctx, op, cred, b.registrationResource())
	if err != nil {
		return AuthResult{}, opError(op, err)
	}
	from := provenanceOf(cred, t, b.cfg.Now()) // before the registration, which takes its time
	if _, err := b.register(ctx, op, rr, t); err != nil {
		return AuthResult{}, opError(op, err)
	}
	rr.step(StepPRT)
	res, err := b.issue(ctx, op, prt.RefreshTokenGrant{Token: t.RefreshToken}, from, Account{})
	return res, opError(op, err)
}
