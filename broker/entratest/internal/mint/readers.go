package mint

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
)

// BearerClaims are the claims of an access token that the services read.
type BearerClaims struct {
	Audience string   `json:"aud"`
	Expires  int64    `json:"exp"`
	Tenant   string   `json:"tid"`
	User     string   `json:"oid"`
	DeviceID string   `json:"deviceid"`
	AMR      []string `json:"amr"`
	AppID    string   `json:"appid"`
	Scopes   string   `json:"scp"`
	Roles    []string `json:"roles"`
	Kind     string   `json:"idtyp"`
	IssuedAt int64    `json:"iat"`
	// Capabilities is xms_cc: CP1 if the client handles claims challenges.
	Capabilities []string `json:"xms_cc"`
	// Mark is xms_st: opaque to clients. Here it holds the number of critical
	// events of the user when the token was issued.
	Mark map[string]int `json:"xms_st"`
	// Origin is rh, which is opaque to clients too.
	Origin string `json:"rh"`
}

// Overtaken reports whether a critical event came after the token was issued and the
// client handles the claims challenge for that. A nil user was deleted.
func (c *BearerClaims) Overtaken(u *directory.User) bool {
	return slices.Contains(c.Capabilities, "CP1") && (u == nil || c.Mark["ev"] != u.Critical)
}

// ErrUserGone is the refusal of a token whose user is deleted or disabled.
var ErrUserGone = errors.New("the user of the access token is deleted or disabled")

// AppOnly reports whether the token is app-only.
func (c *BearerClaims) AppOnly() bool { return c.Kind == "app" }

// Bearer checks an Authorization header with an access token for one of the
// audiences. It returns the claims even if the error is ErrUserGone.
func (m *Mint) Bearer(header string, audiences ...string) (*BearerClaims, *directory.User, error) {
	c, err := m.BearerToken(header, audiences...)
	if err != nil {
		return nil, nil, err
	}
	u := m.Keeper.Directory.UserByID(c.User)
	if u == nil || u.Disabled {
		return c, u, ErrUserGone
	}
	return c, u, nil
}

// BearerToken checks an Authorization header with an access token of a user or an
// application for one of the audiences.
func (m *Mint) BearerToken(header string, audiences ...string) (*BearerClaims, error) {
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return nil, errors.New("header Authorization is not a bearer token")
	}
	var c BearerClaims
	if err := m.Keys.verifyOwn(strings.TrimSpace(token), &c); err != nil {
		return nil, fmt.Errorf("access token: %w", err)
	}
	if err := m.fromThisWorld(c.Origin); err != nil {
		return nil, fmt.Errorf("access token: %w", err)
	}
	if m.Keeper.Now().Unix() >= c.Expires {
		return nil, errors.New("the access token has expired")
	}
	if !slices.ContainsFunc(audiences, func(a string) bool { return directory.ResourceKey(a) == directory.ResourceKey(c.Audience) }) {
		return nil, fmt.Errorf("the access token is for %q", c.Audience)
	}
	return &c, nil
}

// ErrFormerWorld is the refusal of a token that the server issued before it was reset.
var ErrFormerWorld = errors.New("issued before the server was reset")

// Verify checks that this server signed a JWT, with a key that is still published, and
// that it did so since the last reset. If it was signed before, the error is ErrFormerWorld.
func (m *Mint) Verify(token string) error {
	var c struct {
		Origin string `json:"rh"`
	}
	if err := m.Keys.verifyOwn(token, &c); err != nil {
		return err
	}
	return m.fromThisWorld(c.Origin)
}

// Has reports whether the token states one of the methods.
func (c *BearerClaims) Has(methods ...string) bool {
	return slices.ContainsFunc(methods, func(m string) bool { return slices.Contains(c.AMR, m) })
}

// DeviceOfCertificate finds the device of a certificate whose key was proved.
func (m *Mint) DeviceOfCertificate(cert *x509.Certificate) (*directory.Device, error) {
	if err := m.Keys.Device.Verify(cert, m.Keeper.Now()); err != nil {
		return nil, err
	}
	dev := m.Keeper.Directory.Device(cert.Subject.CommonName)
	switch {
	case dev == nil:
		return nil, fmt.Errorf("device %s was deleted", cert.Subject.CommonName)
	case dev.CertSHA256 != sha256.Sum256(cert.Raw):
		return nil, fmt.Errorf("device %s has another certificate now", dev.ID)
	case !dev.Works(m.Keeper.Now()) && !m.DisabledDevice50155:
		return nil, session.ErrDeviceDisabled.Because("device %s is disabled", dev.ID)
	case !dev.Works(m.Keeper.Now()):
		return nil, fmt.Errorf("device %s is disabled", dev.ID)
	case !m.Keeper.Directory.Replicated(dev.ID, m.Keeper.Now()):
		return nil, fmt.Errorf("device %s joined a moment ago and is not replicated yet", dev.ID)
	}
	return dev, nil
}
