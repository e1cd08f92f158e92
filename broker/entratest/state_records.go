package entratest

import (
	"crypto/rsa"
	"crypto/x509"
	"time"

	"github.com/prtbroker/prtbroker/claims"
)

// savedUser is a user record. Its fields are those of user.
type savedUser struct {
	Tenant, ID, UPN, Name string
	SID                   string
	Password              string
	PasswordExpired       bool
	PasswordChangedAt     time.Time
	PasswordGen           int
	Epoch                 int
	RevokedAt             time.Time
	TOTP                  []byte
	TOTPStep              uint64
	HardwareTOTP          []byte
	HardwareStep          uint64
	FederationTOTP        []byte
	NumberMatch           bool
	PhoneSignIn           bool
	Phone                 string
	AccessPass            *savedAccessPass
	Hello                 []savedHello
	Passkeys              []savedPasskey
	Certified             bool
	Roles                 []string
	Guest                 bool
	Disabled              bool
	UserRisk              string
	SignInRisk            string
	Failures              int
	LockedUntil           time.Time
	Consents              map[string][]string
	Terms                 []string
}

type savedAccessPass struct {
	Value   string
	Once    bool
	Used    bool `json:",omitempty"`
	Expires time.Time
}

type savedHello struct {
	ID, Kid  string
	Key      savedKey
	Blob     []byte
	DeviceID string
	Created  time.Time
}

type savedPasskey struct {
	ID     string
	Key    savedKey
	AAGUID string
	Handle []byte `json:",omitempty"`
	Count  uint32 `json:",omitempty"`
}

func (u *user) save() (savedUser, error) {
	out := savedUser{
		Tenant: u.tenant.id, ID: u.id, UPN: u.upn, Name: u.name, SID: u.sid, Password: u.password,
		PasswordExpired: u.passwordExpired, PasswordChangedAt: u.passwordChangedAt, PasswordGen: u.passwordGen,
		Epoch: u.epoch, RevokedAt: u.revokedAt, TOTP: u.totp, TOTPStep: u.totpStep, HardwareTOTP: u.hardware, HardwareStep: u.hardwareStep, FederationTOTP: u.federationTOTP, NumberMatch: u.numberMatch,
		PhoneSignIn: u.phoneSignIn, Phone: u.phone,
		Certified: u.certified, Roles: u.roles, Guest: u.guest, Disabled: u.disabled, UserRisk: u.userRisk, SignInRisk: u.signInRisk,
		Failures: u.failures, LockedUntil: u.lockedUntil, Consents: u.consents, Terms: u.terms,
	}
	if p := u.accessPass; p != nil {
		out.AccessPass = &savedAccessPass{p.value, p.once, p.used, p.expires}
	}
	for _, k := range u.hello {
		der, err := saveKey(k.pub)
		if err != nil {
			return out, err
		}
		out.Hello = append(out.Hello, savedHello{k.id, k.kid, der, k.blob, k.deviceID, k.created})
	}
	for _, k := range u.passkeys {
		der, err := saveKey(k.pub)
		if err != nil {
			return out, err
		}
		out.Passkeys = append(out.Passkeys, savedPasskey{k.id, der, k.aaguid, k.handle, k.count})
	}
	return out, nil
}

func (in *savedUser) user(d *directory) (*user, error) {
	t, err := d.tenantByID(in.Tenant)
	if err != nil {
		return nil, err
	}
	u := &user{
		tenant: t, id: in.ID, upn: in.UPN, name: in.Name, sid: in.SID, password: in.Password,
		passwordExpired: in.PasswordExpired, passwordChangedAt: in.PasswordChangedAt, passwordGen: in.PasswordGen,
		epoch: in.Epoch, revokedAt: in.RevokedAt, totp: in.TOTP, totpStep: in.TOTPStep, hardware: in.HardwareTOTP, hardwareStep: in.HardwareStep, federationTOTP: in.FederationTOTP, numberMatch: in.NumberMatch,
		phoneSignIn: in.PhoneSignIn, phone: in.Phone,
		certified: in.Certified, roles: in.Roles, guest: in.Guest, disabled: in.Disabled, userRisk: in.UserRisk, signInRisk: in.SignInRisk,
		failures: in.Failures, lockedUntil: in.LockedUntil, consents: in.Consents, terms: in.Terms,
	}
	if p := in.AccessPass; p != nil {
		u.accessPass = &accessPass{p.Value, p.Once, p.Used, p.Expires}
	}
	for _, k := range in.Hello {
		pub, err := k.Key.rsa()
		if err != nil {
			return nil, err
		}
		u.hello = append(u.hello, &helloKey{k.ID, k.Kid, pub, k.Blob, k.DeviceID, k.Created})
	}
	for _, k := range in.Passkeys {
		pub, err := x509.ParsePKIXPublicKey(k.Key)
		if err != nil {
			return nil, err
		}
		u.passkeys = append(u.passkeys, passkeyRecord{k.ID, pub, k.AAGUID, k.Handle, k.Count}.of(u))
	}
	return u, nil
}

// savedDevice is a device record. Its fields are those of device.
type savedDevice struct {
	Tenant, ID, ObjectID  string
	Name, Kind, OSVersion string
	JoinType              int
	Owner                 string
	Key, Transport        savedKey
	CertSHA1              string
	CertSHA256            []byte
	KeyMaterial           string
	Enabled               bool
	Compliant             bool
	Managed               bool
	Registered            time.Time
	Visible               time.Time
	TriesLeft             int
	Methods               claims.Methods
	MFATime               time.Time
	Pending               bool
	ComputerKey           savedKey
	ComputerSID           string
	AttestationID         string
}

func (dev *device) save() (savedDevice, error) {
	out := savedDevice{
		Tenant: dev.tenant.id, ID: dev.id, ObjectID: dev.objectID, Name: dev.name, Kind: dev.kind, OSVersion: dev.osVersion,
		JoinType: dev.joinType, Owner: dev.owner, CertSHA1: dev.certSHA1, CertSHA256: dev.certSHA256[:], KeyMaterial: dev.keyMaterial,
		Enabled: dev.enabled, Compliant: dev.compliant, Managed: dev.managed, Registered: dev.registered, Visible: dev.visible,
		TriesLeft: dev.triesLeft, Methods: dev.methods, MFATime: dev.mfaTime, Pending: dev.pending,
		ComputerSID: dev.computerSID, AttestationID: dev.attestationID,
	}
	for _, k := range []struct {
		to   *savedKey
		from *rsa.PublicKey
	}{{&out.Key, dev.pub}, {&out.Transport, dev.transport}, {&out.ComputerKey, dev.computerKey}} {
		der, err := saveKey(k.from)
		if err != nil {
			return out, err
		}
		*k.to = der
	}
	return out, nil
}

func (in *savedDevice) device(d *directory) (*device, error) {
	t, err := d.tenantByID(in.Tenant)
	if err != nil {
		return nil, err
	}
	dev := &device{
		tenant: t, id: in.ID, objectID: in.ObjectID, name: in.Name, kind: in.Kind, osVersion: in.OSVersion,
		joinType: in.JoinType, owner: in.Owner, certSHA1: in.CertSHA1, keyMaterial: in.KeyMaterial,
		enabled: in.Enabled, compliant: in.Compliant, managed: in.Managed, registered: in.Registered, visible: in.Visible,
		triesLeft: in.TriesLeft, methods: in.Methods, mfaTime: in.MFATime, pending: in.Pending,
		computerSID: in.ComputerSID, attestationID: in.AttestationID,
	}
	copy(dev.certSHA256[:], in.CertSHA256)
	for _, k := range []struct {
		to   **rsa.PublicKey
		from savedKey
	}{{&dev.pub, in.Key}, {&dev.transport, in.Transport}, {&dev.computerKey, in.ComputerKey}} {
		if *k.to, err = k.from.rsa(); err != nil {
			return nil, err
		}
	}
	return dev, nil
}
