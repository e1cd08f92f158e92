package drs

import (
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/policy"
)

// joinRequest is the body of a join (the public join specification, 2.2).
type joinRequest struct {
	CertificateRequest struct{ Type, Data, KeyType, KeySecurity string }
	TransportKey       string
	TargetDomain       string
	DeviceType         string
	OSVersion          string
	DeviceDisplayName  string
	JoinType           *int
	AikCertificate     string
	AttestationData    string
	Attributes         map[string]json.RawMessage
	ServerAdJoinData   *serverADJoinData
}

// bearer checks the access token for the registration service and refuses in its
// format.
func (s *Service) bearer(r *web.Request) (*mint.BearerClaims, *directory.User, error) {
	c, u, err := s.Mint.Bearer(r.Header.Get("Authorization"), wire.ResourceRegistration, wire.ResourceRegistrationApp)
	if err != nil {
		return nil, nil, web.BearerRefused(err)
	}
	return c, u, nil
}

// join registers a device.
func (s *Service) join(w http.ResponseWriter, r *web.Request) {
	out, err := s.register(r)
	if err != nil {
		s.Web.RefuseDRS(w, r, err)
		return
	}
	web.WriteJSON(w, http.StatusOK, out)
}

func (s *Service) register(r *web.Request) (map[string]any, error) {
	switch v := r.URL.Query().Get("api-version"); v {
	case "1.0", "2.0":
	default:
		return nil, web.DRSFail(http.StatusBadRequest, "InvalidRequest", "The api-version '%s' is not supported.", web.Clip(v))
	}
	c, u, derr := s.bearer(r)
	if derr != nil {
		return nil, derr
	}
	if c.DeviceID != "" {
		return nil, web.DRSFail(http.StatusForbidden, "AuthorizationError", "The token was issued to another device.").
			Because("an access token with a deviceid claim may not register devices")
	}
	if s.RequireMFAToJoin && !c.Has("mfa", "ngcmfa") {
		return nil, web.DRSFail(http.StatusForbidden, "AuthorizationError", "Multi-factor authentication is required to register a device.")
	}
	if err := s.mayRegister(r, c, u); err != nil {
		return nil, err
	}
	in, pub, transport, err := parseJoin(r)
	if err != nil {
		return nil, err
	}
	if *in.JoinType == wire.JoinTypeHybrid {
		return nil, web.DRSFail(http.StatusBadRequest, "InvalidRequest", "A hybrid device joins by PUT on its object.")
	}
	dev := s.newDevice(u.Tenant, in, pub, transport)
	dev.Owner = u.ID
	s.reuse(dev, in.Attributes)
	if c.Has("mfa") {
		dev.Methods, dev.MFATime = claims.MarkMFA, s.Keeper.Now()
	}
	der, err := s.certify(dev, u.ID)
	if err != nil {
		return nil, err
	}
	if err := s.Keeper.Directory.AddDevice(dev); err != nil {
		return nil, err
	}
	return joinReply(dev, der, u, in.Attributes), nil
}

// mayRegister asks Conditional Access about the user action "register or join
// devices".
func (s *Service) mayRegister(r *web.Request, c *mint.BearerClaims, u *directory.User) error {
	ss := session.Session{Methods: claims.Password, Auth: c.IssuedAt}
	if c.Has("mfa", "ngcmfa") {
		ss.Methods |= claims.MarkMFA
		ss.MFA = c.IssuedAt
	}
	q := access.Question{User: u, Session: &ss, Action: policy.ActionRegisterDevice}
	if err := s.Access.Refusal(s.Access.Evaluate(r, q), q, false); err != nil {
		return web.DRSFail(http.StatusForbidden, "AuthorizationError", "Conditional Access does not allow the user to register a device.").Because("%v", err)
	}
	return nil
}

// reuse gives a device that asks for it (ReuseDevice) its existing object: the one
// with the same owner and device key. A client whose reply was lost then does not
// leave a second object behind.
func (s *Service) reuse(dev *directory.Device, attributes map[string]json.RawMessage) {
	if !attribute(attributes, "ReuseDevice") {
		return
	}
	if old := s.Keeper.Directory.DeviceByKey(dev.Owner, dev.Key); old != nil {
		dev.ID, dev.ObjectID, dev.Enabled = old.ID, old.ObjectID, old.Enabled
	}
}

// parseJoin checks a join request and returns the device key and the transport
// key.
func parseJoin(r *web.Request) (*joinRequest, *rsa.PublicKey, *rsa.PublicKey, error) {
	bad := func(format string, args ...any) error {
		return web.DRSFail(http.StatusBadRequest, "InvalidRequest", "The request is not valid.").Because(format, args...)
	}
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		return nil, nil, nil, bad("Content-Type is %q instead of application/json", r.Header.Get("Content-Type"))
	}
	var in joinRequest
	if err := json.Unmarshal(r.Data, &in); err != nil {
		return nil, nil, nil, bad("body: %v", err)
	}
	fields := []struct{ name, value string }{
		{"TargetDomain", in.TargetDomain}, {"DeviceType", in.DeviceType}, {"OSVersion", in.OSVersion},
		{"DeviceDisplayName", in.DeviceDisplayName}, {"TransportKey", in.TransportKey},
	}
	if d := in.ServerAdJoinData; d != nil {
		fields = []struct{ name, value string }{
			{"TargetDomain", d.TargetDomain}, {"DeviceType", d.DeviceType}, {"OSVersion", d.OSVersion},
			{"DeviceDisplayName", d.DeviceDisplayName}, {"TransportKey", d.TransportKey},
		}
	}
	for _, f := range fields {
		if f.value == "" {
			return nil, nil, nil, bad("%s is missing", f.name)
		}
	}
	if !strings.EqualFold(in.CertificateRequest.Type, "pkcs10") {
		return nil, nil, nil, bad("CertificateRequest.Type is %q instead of pkcs10", web.Clip(in.CertificateRequest.Type))
	}
	if in.JoinType == nil {
		return nil, nil, nil, bad("JoinType is missing")
	}
	switch *in.JoinType {
	case wire.JoinTypeJoin, wire.JoinTypeRegister, wire.JoinTypeHybrid, 8:
	default:
		return nil, nil, nil, bad("JoinType %d is unknown", *in.JoinType)
	}
	pub, err := verify.JoinRequest(in.CertificateRequest.Data)
	if err != nil {
		return nil, nil, nil, bad("%v", err)
	}
	transport, err := verify.TransportKey(fields[len(fields)-1].value)
	if err != nil {
		return nil, nil, nil, bad("%v", err)
	}
	return &in, pub, transport, nil
}

func (s *Service) newDevice(t *directory.Tenant, in *joinRequest, pub, transport *rsa.PublicKey) *directory.Device {
	now := s.Keeper.Now()
	tries := s.ReplicationTries
	return &directory.Device{
		Tenant: t, ID: s.Keeper.Rand.GUID(), ObjectID: s.Keeper.Rand.GUID(),
		Name: in.DeviceDisplayName, Kind: in.DeviceType, OSVersion: in.OSVersion, JoinType: *in.JoinType,
		Key: pub, Transport: transport, KeyMaterial: in.TransportKey,
		Enabled: true, Registered: now, Visible: now.Add(s.ReplicationLag), TriesLeft: tries,
		AttestationID: s.Keeper.Rand.GUID(),
	}
}

// certify issues the device's certificate and stores its hashes.
func (s *Service) certify(dev *directory.Device, userID string) ([]byte, error) {
	der, err := s.Mint.Keys.Device.Issue(dev.Key, mint.DeviceCertificate{
		Device: dev.ID, User: userID, Tenant: dev.Tenant.ID, Region: dev.Tenant.Region,
		Joined: dev.JoinType != wire.JoinTypeRegister, Serial: s.Keeper.Rand.Bytes(16), Now: s.Keeper.Now(),
	})
	if err != nil {
		return nil, err
	}
	dev.CertSHA1, dev.CertSHA256 = mint.Thumbprint(der), sha256.Sum256(der)
	return der, nil
}

// localAdministrators is the SID of the group that MembershipChanges adds to.
const localAdministrators = "S-1-5-32-544"

func joinReply(dev *directory.Device, der []byte, u *directory.User, attributes map[string]json.RawMessage) map[string]any {
	out := map[string]any{
		"Certificate": map[string]string{"Thumbprint": dev.CertSHA1, "RawBody": base64.StdEncoding.EncodeToString(der)},
	}
	if u != nil {
		out["User"] = map[string]string{"Upn": u.UPN}
	}
	if attribute(attributes, "ReturnClientSid") && dev.JoinType == wire.JoinTypeJoin {
		// The roles Global Administrator and Entra Joined Device Local Administrator.
		out["MembershipChanges"] = []map[string]any{{"LocalSID": localAdministrators, "AddSIDs": []string{
			ids.SID("62e90394-69f5-4237-9190-012177145e10"), ids.SID("9f06204d-73c1-4d4c-880a-6edb90606fd8"),
		}}}
	}
	return out
}

// attribute reports whether an attribute of a join is on: clients send the
// text "true" in any case, or a boolean.
func attribute(attributes map[string]json.RawMessage, name string) bool {
	return strings.EqualFold(strings.Trim(string(attributes[name]), `"`), "true")
}
