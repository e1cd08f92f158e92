package directory

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
	Mail                  string `json:",omitempty"`
	Password              string
	PasswordExpired       bool
	PasswordChangedAt     time.Time
	PasswordGen           int
	Epoch                 int
	RevokedAt             time.Time
	Critical              int       `json:",omitempty"`
	CriticalAt            time.Time `json:",omitzero"`
	MFARequired           bool      `json:",omitempty"`
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
	Visible               time.Time `json:",omitzero"`
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

func (k *HelloKey) save() (savedHello, error) {
	der, err := saveKey(k.Key)
	return savedHello{k.ID, k.Kid, der, k.Blob, k.DeviceID, k.Created}, err
}

func (k savedHello) key() (*HelloKey, error) {
	pub, err := k.Key.rsa()
	return &HelloKey{k.ID, k.Kid, pub, k.Blob, k.DeviceID, k.Created}, err
}

func (u *User) save() (savedUser, error) {
	out := savedUser{
		Tenant: u.Tenant.ID, ID: u.ID, UPN: u.UPN, Name: u.Name, SID: u.SID, Mail: u.Mail, Password: u.Password,
		PasswordExpired: u.PasswordExpired, PasswordChangedAt: u.PasswordChangedAt, PasswordGen: u.PasswordGen,
		Epoch: u.Epoch, RevokedAt: u.RevokedAt, Critical: u.Critical, CriticalAt: u.CriticalAt, MFARequired: u.MFARequired, TOTP: u.TOTP, TOTPStep: u.TOTPStep, HardwareTOTP: u.Hardware, HardwareStep: u.HardwareStep, FederationTOTP: u.FederationTOTP, NumberMatch: u.NumberMatch,
		PhoneSignIn: u.PhoneSignIn, Phone: u.Phone,
		Certified: u.Certified, Roles: u.Roles, Guest: u.Guest, Disabled: u.Disabled, UserRisk: u.UserRisk, SignInRisk: u.SignInRisk,
		Failures: u.Failures, LockedUntil: u.LockedUntil, Consents: u.Consents, Terms: u.Terms, Visible: u.Visible,
	}
	if p := u.AccessPass; p != nil {
		out.AccessPass = &savedAccessPass{p.Value, p.Once, p.Used, p.Expires}
	}
	for _, k := range u.Hello {
		saved, err := k.save()
		if err != nil {
			return out, err
		}
		out.Hello = append(out.Hello, saved)
	}
	for _, k := range u.Passkeys {
		der, err := saveKey(k.Key)
		if err != nil {
			return out, err
		}
		out.Passkeys = append(out.Passkeys, savedPasskey{k.ID, der, k.AAGUID, k.Handle, k.count})
	}
	return out, nil
}

func (in *savedUser) user(d *Directory) (*User, error) {
	t, err := d.tenantByID(in.Tenant)
	if err != nil {
		return nil, err
	}
	u := &User{
		Tenant: t, ID: in.ID, UPN: in.UPN, Name: in.Name, SID: in.SID, Mail: in.Mail, Password: in.Password,
		PasswordExpired: in.PasswordExpired, PasswordChangedAt: in.PasswordChangedAt, PasswordGen: in.PasswordGen,
		Epoch: in.Epoch, RevokedAt: in.RevokedAt, Critical: in.Critical, CriticalAt: in.CriticalAt, MFARequired: in.MFARequired, TOTP: in.TOTP, TOTPStep: in.TOTPStep, Hardware: in.HardwareTOTP, HardwareStep: in.HardwareStep, FederationTOTP: in.FederationTOTP, NumberMatch: in.NumberMatch,
		PhoneSignIn: in.PhoneSignIn, Phone: in.Phone,
		Certified: in.Certified, Roles: in.Roles, Guest: in.Guest, Disabled: in.Disabled, UserRisk: in.UserRisk, SignInRisk: in.SignInRisk,
		Failures: in.Failures, LockedUntil: in.LockedUntil, Consents: in.Consents, Terms: in.Terms, Visible: in.Visible,
	}
	if p := in.AccessPass; p != nil {
		u.AccessPass = &AccessPass{p.Value, p.Once, p.Used, p.Expires}
	}
	for _, k := range in.Hello {
		key, err := k.key()
		if err != nil {
			return nil, err
		}
		u.Hello = append(u.Hello, key)
	}
	for _, k := range in.Passkeys {
		pub, err := x509.ParsePKIXPublicKey(k.Key)
		if err != nil {
			return nil, err
		}
		u.Passkeys = append(u.Passkeys, Passkey{k.ID, pub, k.AAGUID, k.Handle, k.Count}.of(u))
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
	WorksUntil            time.Time `json:",omitzero"`
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

func (dev *Device) save() (savedDevice, error) {
	out := savedDevice{
		Tenant: dev.Tenant.ID, ID: dev.ID, ObjectID: dev.ObjectID, Name: dev.Name, Kind: dev.Kind, OSVersion: dev.OSVersion,
		JoinType: dev.JoinType, Owner: dev.Owner, CertSHA1: dev.CertSHA1, CertSHA256: dev.CertSHA256[:], KeyMaterial: dev.KeyMaterial,
		Enabled: dev.Enabled, WorksUntil: dev.WorksUntil, Compliant: dev.Compliant, Managed: dev.Managed, Registered: dev.Registered, Visible: dev.Visible,
		TriesLeft: dev.TriesLeft, Methods: dev.Methods, MFATime: dev.MFATime, Pending: dev.Pending,
		ComputerSID: dev.ComputerSID, AttestationID: dev.AttestationID,
	}
	for _, k := range []struct {
		to   *savedKey
		from *rsa.PublicKey
	}{{&out.Key, dev.Key}, {&out.Transport, dev.Transport}, {&out.ComputerKey, dev.ComputerKey}} {
		der, err := saveKey(k.from)
		if err != nil {
			return out, err
		}
		*k.to = der
	}
	return out, nil
}

func (in *savedDevice) device(d *Directory) (*Device, error) {
	t, err := d.tenantByID(in.Tenant)
	if err != nil {
		return nil, err
	}
	dev := &Device{
		Tenant: t, ID: in.ID, ObjectID: in.ObjectID, Name: in.Name, Kind: in.Kind, OSVersion: in.OSVersion,
		JoinType: in.JoinType, Owner: in.Owner, CertSHA1: in.CertSHA1, KeyMaterial: in.KeyMaterial,
		Enabled: in.Enabled, WorksUntil: in.WorksUntil, Compliant: in.Compliant, Managed: in.Managed, Registered: in.Registered, Visible: in.Visible,
		TriesLeft: in.TriesLeft, Methods: in.Methods, MFATime: in.MFATime, Pending: in.Pending,
		ComputerSID: in.ComputerSID, AttestationID: in.AttestationID,
	}
	copy(dev.CertSHA256[:], in.CertSHA256)
	for _, k := range []struct {
		to   **rsa.PublicKey
		from savedKey
	}{{&dev.Key, in.Key}, {&dev.Transport, in.Transport}, {&dev.ComputerKey, in.ComputerKey}} {
		if *k.to, err = k.from.rsa(); err != nil {
			return nil, err
		}
	}
	return dev, nil
}
