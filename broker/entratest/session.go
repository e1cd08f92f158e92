package entratest

import (
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/seal"
	"github.com/prtbroker/prtbroker/claims"
)

// Kinds of sealed tokens. The texts are the prefixes that real ones have.
const (
	kindRefresh seal.Kind = "1.AXoA"
	kindPRT     seal.Kind = "0.AXoA"
	kindCode    seal.Kind = "0.AQwA"
	kindNonce   seal.Kind = "AwABEgEAAAACAOz_"
	kindContext seal.Kind = "rQQIAR"
	kindFlow    seal.Kind = "AQABEgE"
	kindBulk    seal.Kind = "0.AXkA"
	kindCookie  seal.Kind = "0.AXsA"

	kindDesktopSSO seal.Kind = "DSSO."
)

// session is what the service knows of a sign-in. It travels inside every
// token born of it.
type session struct {
	Tenant     string         `json:"t"`
	User       string         `json:"u"` // object id
	Device     string         `json:"d,omitempty"`
	Methods    claims.Methods `json:"m"`
	Auth       int64          `json:"a"`           // last proof of the first factor
	MFA        int64          `json:"f,omitempty"` // last proof of MFA, by any means
	Fresh      int64          `json:"n,omitempty"` // last second factor the user was asked for: what ngcmfa means
	Password   bool           `json:"b,omitempty"` // born of a password: dies with it
	Gen        int            `json:"p"`           // of the password
	Epoch      int            `json:"e"`           // of revocations
	DeviceCode bool           `json:"x,omitempty"` // began with a device code; the mark stays
	Ends       int64          `json:"z,omitempty"` // of a temporary access pass: it gives no token after that
	SID        string         `json:"s"`
	AAGUID     string         `json:"g,omitempty"` // model of the passkey
	Issuer     string         `json:"i,omitempty"` // subject key identifier, hex, of the user certificate's authority
	Policies   []string       `json:"o,omitempty"` // policy OIDs of the user certificate
	Contexts   []string       `json:"q,omitempty"` // authentication contexts satisfied
}

func (s *Server) newSession(u *directory.User, m claims.Methods) session {
	return session{
		Tenant: u.Tenant.ID, User: u.ID, Methods: m, Auth: s.Now().Unix(),
		Gen: u.PasswordGen, Epoch: u.Epoch, SID: s.rand.GUID(),
	}
}

// unlockedBy takes the evidence of a credential that was given again.
func (ss *session) unlockedBy(fresh *session) {
	if !ss.Methods.Has(fresh.Methods.Modes()) { // another credential
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

// mfa records a second factor that the user was asked for just now.
func (ss *session) mfa(m claims.Methods, now time.Time) {
	ss.Methods |= m | claims.MarkMFA
	ss.MFA, ss.Fresh = now.Unix(), now.Unix()
}

func (ss *session) authTime() time.Time { return time.Unix(ss.Auth, 0) }

func (ss *session) mfaTime() time.Time {
	if ss.MFA == 0 {
		return time.Time{}
	}
	return time.Unix(ss.MFA, 0)
}

// fresh reports whether the user was asked for a second factor recently.
func (ss *session) fresh(now time.Time, within time.Duration) bool {
	return ss.Fresh != 0 && now.Sub(time.Unix(ss.Fresh, 0)) <= within
}

// amr lists the methods as a v1 token does. The value ngcmfa appears only when
// it is asked for and the MFA is fresh.
func (ss *session) amr(ngcmfa bool) []string {
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

// userOf finds the user of a session and checks that both still live.
func (s *Server) userOf(ss *session) (*directory.User, error) {
	u := s.dir.UserByID(ss.User)
	if u == nil || u.Tenant.ID != ss.Tenant {
		return nil, invalidGrant(50034, "The user account does not exist in the directory.").sub("user_account_deleted")
	}
	if u.Disabled {
		return nil, invalidGrant(50057, "The user account is disabled.")
	}
	if ss.Epoch != u.Epoch {
		return nil, revoked(ss, u.RevokedAt).because("sessions of %s were revoked", u.UPN)
	}
	if ss.Password && ss.Gen != u.PasswordGen {
		return nil, revoked(ss, u.PasswordChangedAt).because("the password of %s was changed", u.UPN)
	}
	if ss.Ends != 0 && s.Now().Unix() >= ss.Ends {
		return nil, errPassExpired.because("the session was born of it")
	}
	return u, nil
}

func revoked(ss *session, since time.Time) *stsError {
	const layout = "2006-01-02T15:04:05.0000000Z"
	return invalidGrant(50173, "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have changed or reset their password. The grant was issued on '%s' and the TokensValidFrom date (before which tokens are not valid) for this user is '%s'.",
		ss.authTime().UTC().Format(layout), since.UTC().Format(layout)).sub("bad_token")
}

// deviceOf finds the device of a session. A session without one gives nil.
func (s *Server) deviceOf(ss *session) (*directory.Device, error) {
	if ss.Device == "" {
		return nil, nil
	}
	dev := s.dir.Device(ss.Device)
	if dev == nil {
		return nil, invalidGrant(50155, "Device authentication failed.").sub("device_authentication_failed").
			because("device %s was deleted", ss.Device)
	}
	if !dev.Enabled {
		return nil, invalidGrant(135011, "The device used during the authentication is disabled.").sub("device_authentication_failed")
	}
	return dev, nil
}
