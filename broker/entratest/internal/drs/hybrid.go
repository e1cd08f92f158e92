package drs

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// serverADJoinData describes a computer of an Active Directory domain that joins.
type serverADJoinData struct {
	TransportKey, TargetDomain, DeviceType, OSVersion, DeviceDisplayName string
	SourceDomainController, TargetDomainID                               string
	ClientIdentity                                                       struct{ Type, Sid, SignedBlob string }
}

// hybridSkew is how old the signed proof of a hybrid join may be.
const hybridSkew = 5 * time.Minute

// hybridJoin completes a synchronised device. It needs no token: the computer
// proves possession of the key that was synchronised.
func (s *Service) hybridJoin(w http.ResponseWriter, r *web.Request) {
	out, err := s.complete(r)
	if err != nil {
		s.Web.RefuseDRS(w, r, err)
		return
	}
	web.WriteJSON(w, http.StatusOK, out)
}

func (s *Service) complete(r *web.Request) (map[string]any, error) {
	id := strings.ToLower(r.Vars["device"])
	old := s.Keeper.Directory.Device(id)
	if old == nil || old.JoinType != wire.JoinTypeHybrid {
		return nil, web.DRSFail(http.StatusBadRequest, "DirectoryError", "The device object by the given id (%s) is not found.", web.Clip(id))
	}
	in, pub, transport, err := parseJoin(r)
	if err != nil {
		return nil, err
	}
	bad := web.DRSFail(http.StatusBadRequest, "InvalidRequest", "The request is not valid.")
	if *in.JoinType != wire.JoinTypeHybrid || in.ServerAdJoinData == nil {
		return nil, bad.Because("a hybrid join needs JoinType 6 and ServerAdJoinData")
	}
	if d := in.ServerAdJoinData.TargetDomainID; d != "" && !strings.EqualFold(d, old.Tenant.ID) {
		return nil, bad.Because("TargetDomainId is another tenant")
	}
	if err := s.checkIdentity(old, in.ServerAdJoinData); err != nil {
		return nil, err
	}
	in.DeviceType, in.OSVersion, in.DeviceDisplayName = in.ServerAdJoinData.DeviceType, in.ServerAdJoinData.OSVersion, in.ServerAdJoinData.DeviceDisplayName
	in.TransportKey = in.ServerAdJoinData.TransportKey
	dev := s.newDevice(old.Tenant, in, pub, transport)
	dev.ID, dev.ObjectID = old.ID, old.ObjectID
	dev.ComputerKey, dev.ComputerSID = old.ComputerKey, old.ComputerSID
	der, err := s.certify(dev, "")
	if err != nil {
		return nil, err
	}
	if err := s.Keeper.Directory.AddDevice(dev); err != nil {
		return nil, err
	}
	return joinReply(dev, der, nil, in.Attributes), nil
}

// checkIdentity checks the signature over "SID.time" by the computer's key.
func (s *Service) checkIdentity(dev *directory.Device, in *serverADJoinData) error {
	e := web.DRSFail(http.StatusUnauthorized, "AuthenticationError", "The identity of the computer could not be verified.")
	ci := in.ClientIdentity
	if ci.Type != "sha256signed" {
		return e.Because("ClientIdentity.Type is %q instead of sha256signed", web.Clip(ci.Type))
	}
	sid, stamp, ok := strings.Cut(ci.Sid, ".")
	at, err := time.Parse("2006-01-02 15:04:05Z", stamp)
	if !ok || err != nil || sid != dev.ComputerSID {
		return e.Because("ClientIdentity.Sid is %q instead of the computer's SID, a dot and a time", web.Clip(ci.Sid))
	}
	if d := s.Keeper.Now().Sub(at); d > hybridSkew || d < -hybridSkew {
		return e.Because("ClientIdentity.Sid was signed %s ago", d)
	}
	sig, err := base64.StdEncoding.DecodeString(ci.SignedBlob)
	if err != nil {
		return e.Because("ClientIdentity.SignedBlob is not standard base64")
	}
	sum := sha256.Sum256([]byte(ci.Sid))
	if rsa.VerifyPKCS1v15(dev.ComputerKey, crypto.SHA256, sum[:], sig) != nil {
		return e.Because("ClientIdentity.SignedBlob is not signed with the synchronised key")
	}
	return nil
}

// SyncComputer creates a pending hybrid device, which the computer with that key then
// completes by joining.
func (s *Service) SyncComputer(id, sid, name string, key *rsa.PublicKey) error {
	if !ids.IsGUID(id) || key == nil || sid == "" {
		return web.DRSFail(http.StatusBadRequest, "InvalidRequest", "a computer needs a GUID, a SID and a key")
	}
	return s.Keeper.Directory.AddDevice(&directory.Device{
		Tenant: s.Keeper.Directory.Home(), ID: strings.ToLower(id), ObjectID: s.Keeper.Rand.GUID(), Name: name, Kind: "Windows",
		JoinType: wire.JoinTypeHybrid, Pending: true, ComputerKey: key, ComputerSID: sid,
		Registered: s.Keeper.Now(), AttestationID: s.Keeper.Rand.GUID(),
	})
}
