package session

import (
	"errors"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
)

// Session is what the service knows about a sign-in. It travels inside every
// token derived from it.
type Session struct {
	Tenant     string         `json:"t"`
	User       string         `json:"u"` // object id
	Device     string         `json:"d,omitempty"`
	Methods    claims.Methods `json:"m"`
	Auth       int64          `json:"a"`           // last proof of the first factor
	MFA        int64          `json:"f,omitempty"` // last proof of MFA, by any means
	Fresh      int64          `json:"n,omitempty"` // last time the user was asked for a second factor, for ngcmfa
	Password   bool           `json:"b,omitempty"` // began with a password: ends when it changes
	Gen        int            `json:"p"`           // generation of the password
	Epoch      int            `json:"e"`           // count of revocations
	DeviceCode bool           `json:"x,omitempty"` // began with a device code; never cleared
	Ends       int64          `json:"z,omitempty"` // end of the temporary access pass, after which no token is issued
	SID        string         `json:"s"`
	AAGUID     string         `json:"g,omitempty"` // model of the passkey
	Issuer     string         `json:"i,omitempty"` // subject key identifier, hex, of the user certificate's authority
	FromPRT    bool           `json:"k,omitempty"` // browser session signed in by a PRT
	Remediated bool           `json:"r,omitempty"` // the user changed the password because of the account's risk, after MFA
	Policies   []string       `json:"o,omitempty"` // policy OIDs of the user certificate
	Contexts   []string       `json:"q,omitempty"` // authentication contexts satisfied
}

// NewSession starts the session of a user who authenticated with the methods.
func (k *Keeper) NewSession(u *directory.User, m claims.Methods) Session {
	return Session{
		Tenant: u.Tenant.ID, User: u.ID, Methods: m, Auth: k.Now().Unix(),
		Gen: u.PasswordGen, Epoch: u.Epoch, SID: k.Rand.GUID(),
	}
}

// UnlockedBy updates the session with the evidence of a fresh credential.
func (ss *Session) UnlockedBy(fresh *Session) {
	if !ss.Methods.Has(fresh.Methods.Modes()) { // a different credential
		fresh.Methods |= claims.MarkRSA
		fresh.Device, fresh.DeviceCode, fresh.SID = ss.Device, ss.DeviceCode, ss.SID
		*ss = *fresh
		return
	}
	ss.Auth = fresh.Auth
	if fresh.MFA != 0 {
		ss.MFA = fresh.MFA
	}
	if fresh.Issuer != "" {
		ss.Issuer, ss.Policies = fresh.Issuer, fresh.Policies
	}
}

// ProveMFA records a second factor that the user was asked for just now.
func (ss *Session) ProveMFA(m claims.Methods, now time.Time) {
	ss.Methods |= m | claims.MarkMFA
	ss.MFA, ss.Fresh = now.Unix(), now.Unix()
}

// DropMFA drops all evidence except that of the first factor.
func (ss *Session) DropMFA() {
	ss.Methods &^= claims.MarkMFA | claims.AuthenticatorPush | claims.SoftwareOATH | claims.HardwareOATH | claims.SMS | claims.Voice
	ss.MFA, ss.Fresh = 0, 0
}

// AuthTime returns when the first factor was last proved.
func (ss *Session) AuthTime() time.Time { return time.Unix(ss.Auth, 0) }

// MFATime returns when MFA was last proved; zero if never.
func (ss *Session) MFATime() time.Time {
	if ss.MFA == 0 {
		return time.Time{}
	}
	return time.Unix(ss.MFA, 0)
}

// FreshMFA reports whether the user was asked for a second factor recently.
func (ss *Session) FreshMFA(now time.Time, within time.Duration) bool {
	return ss.Fresh != 0 && now.Sub(time.Unix(ss.Fresh, 0)) <= within
}

// AMR lists the methods as a v1 token does. The value ngcmfa appears only if it is
// asked for and the MFA is fresh.
func (ss *Session) AMR(ngcmfa bool) []string {
	var out []string
	add := func(on bool, v string) {
		if on {
			out = append(out, v)
		}
	}
	m := ss.Methods
	add(m&claims.Password != 0, "pwd")
	add(m&(claims.FederatedSingleFactor|claims.FederatedMultiFactor) != 0, "fed")
	add(m&claims.FIDO2 != 0, "fido")
	add(m&(claims.MarkRSA|claims.WindowsHello|claims.FIDO2|claims.DeviceBasedPush|claims.CertificateSingleFactor|claims.CertificateMultiFactor) != 0, "rsa")
	add(m&(claims.TemporaryAccessPassOneTime|claims.TemporaryAccessPassMultiUse) != 0, "otp")
	add(ss.MFA != 0, "mfa")
	add(ngcmfa, "ngcmfa")
	return out
}

// UserOf finds the user of a session and checks that both are still valid.
func (k *Keeper) UserOf(ss *Session) (*directory.User, error) {
	u := k.Directory.UserByID(ss.User)
	if u == nil || u.Tenant.ID != ss.Tenant {
		return nil, web.InvalidGrant(50034, "The user account does not exist in the directory.").Sub("user_account_deleted")
	}
	if u.Disabled {
		return nil, web.InvalidGrant(50057, "The user account is disabled.")
	}
	if ss.Epoch != u.Epoch {
		return nil, revoked(ss, u.RevokedAt).Because("sessions of %s were revoked", u.UPN)
	}
	if ss.Password && ss.Gen != u.PasswordGen {
		return nil, revoked(ss, u.PasswordChangedAt).Because("the password of %s was changed", u.UPN)
	}
	if ss.Ends != 0 && k.Now().Unix() >= ss.Ends {
		return nil, errPassExpired.Because("the session began with it")
	}
	return u, nil
}

func revoked(ss *Session, since time.Time) *web.STSError {
	const layout = "2006-01-02T15:04:05.0000000Z"
	return web.InvalidGrant(50173, "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have changed or reset their password. The grant was issued on '%s' and the TokensValidFrom date (before which tokens are not valid) for this user is '%s'.",
		ss.AuthTime().UTC().Format(layout), since.UTC().Format(layout)).Sub("bad_token")
}

// ErrDeviceDisabled is the error that broker clients get in practice, whether they
// request a PRT or use one: GitHub issues 2651 of vscode-tools-for-ai and 494 of
// GitHub-Copilot-for-Azure. For PRT requests this is inferred: Microsoft's page
// "Troubleshoot primary refresh token issues" names AADSTS50155 for deleted and
// disabled devices alike.
var ErrDeviceDisabled = web.InvalidGrant(135011, "The device used during the authentication is disabled.").Sub("device_authentication_failed")

// DeviceOf finds the device of a session. It returns nil if the session has none.
func (k *Keeper) DeviceOf(ss *Session) (*directory.Device, error) {
	if ss.Device == "" {
		return nil, nil
	}
	dev := k.Directory.Device(ss.Device)
	if dev == nil {
		return nil, web.InvalidGrant(50155, "Device authentication failed.").Sub("device_authentication_failed").
			Because("device %s was deleted", ss.Device)
	}
	if !dev.Works(k.Now()) {
		return nil, ErrDeviceDisabled
	}
	return dev, nil
}

// DeviceRefused returns the error for a device that could not be identified: the one
// in why, or else the general one, with why for the test log.
func DeviceRefused(why error) *web.STSError {
	var e *web.STSError
	if errors.As(why, &e) {
		return e
	}
	return web.InvalidGrant(50155, "Device authentication failed.").Sub("device_authentication_failed").Because("%v", why)
}

// Capped limits a lifetime so that it ends no later than the temporary access pass
// that the session began with. The limit is applied when a token is issued (Entra,
// "Configure Temporary Access Pass to register passwordless authentication methods",
// Expiration).
func (ss *Session) Capped(life time.Duration, now time.Time) time.Duration {
	if ss.Ends == 0 {
		return life
	}
	return max(0, min(life, time.Unix(ss.Ends, 0).Sub(now).Truncate(time.Second)))
}
