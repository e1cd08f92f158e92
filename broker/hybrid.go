package broker

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

// OnPremises says which computer of the on-premises directory this machine is.
type OnPremises struct {
	// ObjectID is the objectGUID of the computer, which becomes the device id.
	ObjectID string
	// SID is the security identifier of the computer.
	SID string
	// DomainController is where the computer object was changed last. It may
	// be empty.
	DomainController string
}

const (
	hybridFirstWait = 15 * time.Second
	hybridMaxWait   = 5 * time.Minute
	hybridTries     = 16 // about an hour: the directories are synced each half hour
	certLife        = 10 * 365 * 24 * time.Hour
)

var sidPattern = regexp.MustCompile(`^S-1-5-21(-[0-9]{1,10}){4}$`)

var guidPattern = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// OnPremisesCertificate returns the certificate, DER, that the caller writes
// into the userCertificate attribute of the computer, from where it is synced
// to Entra before RegisterDevice with Hybrid can succeed. Its key stays in the
// key store. A second call returns a certificate for the same key.
func (b *Broker) OnPremisesCertificate(ctx context.Context, computer OnPremises) (_ []byte, err error) {
	const op = "on-premises certificate"
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave(&err)
	if err := computer.check(); err != nil {
		return nil, opError(op, err)
	}
	release, err := vault.Lease(ctx, b.cfg.Store, "register")
	if err != nil {
		return nil, opError(op, err)
	}
	defer release()
	stored, err := b.prepare(ctx, RegisterRequest{JoinType: Hybrid})
	if err != nil {
		return nil, opError(op, err)
	}
	defer stored.vault.Close()
	key, err := b.directoryKey(ctx, stored)
	if err != nil {
		return nil, opError(op, err)
	}
	defer key.Close()
	der, err := b.selfSigned(ctx, key, computer.ObjectID)
	return der, opError(op, err)
}

func (c *OnPremises) check() error {
	c.ObjectID = strings.ToLower(c.ObjectID)
	if !guidPattern.MatchString(c.ObjectID) || !sidPattern.MatchString(c.SID) {
		return &Error{detail: "OnPremises needs the objectGUID and the SID of the computer"}
	}
	return nil
}

// directoryKey opens the key of the on-premises certificate, or makes it.
func (b *Broker) directoryKey(ctx context.Context, stored *storedDevice) (tpm.Signer, error) {
	if blob := stored.record.DirectoryKey; blob != nil {
		k, err := b.cfg.Keys.OpenKey(ctx, blob)
		if err != nil {
			return nil, keyError("opening the on-premises key", err)
		}
		if s, ok := k.(tpm.Signer); ok {
			return s, nil
		}
		_ = k.Close()
		return nil, ErrStateDamaged
	}
	k, err := b.cfg.Keys.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Sign})
	if err != nil {
		return nil, keyError("making the on-premises key", err)
	}
	s, ok := k.(tpm.Signer)
	if !ok {
		return nil, errors.New("broker: the key store made a key that does not sign")
	}
	stored.record.DirectoryKey = s.Blob()
	if stored.record.Phase == "" {
		stored.record.Phase = phaseKeys
	}
	if err := stored.save(ctx); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func (b *Broker) selfSigned(ctx context.Context, key tpm.Signer, objectID string) ([]byte, error) {
	serial := make([]byte, 16)
	if _, err := io.ReadFull(b.cfg.Rand, serial); err != nil {
		return nil, err
	}
	serial[0] &= 0x7f
	now := b.cfg.Now()
	template := &x509.Certificate{
		SerialNumber:       new(big.Int).SetBytes(serial),
		Subject:            pkix.Name{CommonName: objectID},
		NotBefore:          now.Add(-30 * time.Minute),
		NotAfter:           now.Add(certLife),
		SignatureAlgorithm: x509.SHA256WithRSA,
	}
	return x509.CreateCertificate(b.cfg.Rand, template, template, key.Public(), boundSigner{ctx, key})
}

// boundSigner carries a context through crypto packages, which have none.
type boundSigner struct {
	ctx context.Context
	key tpm.Signer
}

func (s boundSigner) Public() crypto.PublicKey { return s.key.Public() }

func (s boundSigner) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.key.SignContext(s.ctx, digest, opts)
}

type hybridJSON struct {
	CertificateRequest struct {
		Type string `json:"Type"`
		Data []byte `json:"Data"`
	} `json:"CertificateRequest"`
	JoinType         JoinType          `json:"JoinType"`
	Attributes       map[string]string `json:"attributes"`
	ServerAdJoinData hybridData        `json:"ServerAdJoinData"`
}

type hybridData struct {
	TransportKey           []byte         `json:"TransportKey"`
	TargetDomain           string         `json:"TargetDomain"`
	DeviceType             string         `json:"DeviceType"`
	OSVersion              string         `json:"OSVersion"`
	DeviceDisplayName      string         `json:"DeviceDisplayName"`
	SourceDomainController string         `json:"SourceDomainController,omitempty"`
	TargetDomainID         string         `json:"TargetDomainId"`
	ClientIdentity         hybridIdentity `json:"ClientIdentity"`
}

// hybridIdentity proves which computer asks: its SID and the time, signed by
// the key whose certificate is on the computer object.
type hybridIdentity struct {
	Type       string `json:"Type"`
	SID        string `json:"Sid"`
	SignedBlob []byte `json:"SignedBlob"`
}

// hybridJoin asks until the directory knows the computer's certificate.
func (b *Broker) hybridJoin(ctx context.Context, op string, req *RegisterRequest, r *deviceRecord, join prt.JoinRequest) (*prt.DeviceCertificate, error) {
	if req.OnPremises == nil || r.DirectoryKey == nil {
		return nil, &Error{Op: op, detail: "a hybrid registration needs OnPremises, and OnPremisesCertificate before it"}
	}
	if err := req.OnPremises.check(); err != nil {
		return nil, err
	}
	directory, err := b.directoryKey(ctx, &storedDevice{record: r})
	if err != nil {
		return nil, err
	}
	defer directory.Close()
	wait := hybridFirstWait
	for try := 1; ; try++ {
		cert, err := b.hybridOnce(ctx, op, req, r, join, directory)
		if err == nil || try == hybridTries || !errors.Is(err, ErrTransient) {
			return cert, err
		}
		b.cfg.Logger.InfoContext(ctx, "the directory has not synced the computer yet", "wait", wait, "error", err)
		if err := b.sleep(ctx, wait); err != nil {
			return nil, err
		}
		wait = min(2*wait, hybridMaxWait)
	}
}

func (b *Broker) hybridOnce(ctx context.Context, op string, req *RegisterRequest, r *deviceRecord, join prt.JoinRequest, directory tpm.Signer) (*prt.DeviceCertificate, error) {
	var body hybridJSON
	var err error
	body.JoinType, body.Attributes = Hybrid, map[string]string{"ReturnClientSid": "true"}
	body.CertificateRequest.Type = "pkcs10"
	if body.CertificateRequest.Data, err = prt.CSR(ctx, join.DeviceKey, b.cfg.Rand); err != nil {
		return nil, err
	}
	body.ServerAdJoinData = hybridData{
		TargetDomain:           join.Domain,
		DeviceType:             join.DeviceType,
		OSVersion:              join.OSVersion,
		DeviceDisplayName:      join.DisplayName,
		SourceDomainController: req.OnPremises.DomainController,
		TargetDomainID:         r.TenantID,
	}
	if body.ServerAdJoinData.TransportKey, err = prt.MarshalPublicKey(join.TransportKey); err != nil {
		return nil, err
	}
	if body.ServerAdJoinData.ClientIdentity, err = b.identity(ctx, directory, req.OnPremises.SID); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	rep, err := b.sts.Do(ctx, sts.Request{
		Method:      http.MethodPut,
		URL:         sts.WithVersion(strings.TrimSuffix(r.Endpoints.Join, "/")+"/"+req.OnPremises.ObjectID, wire.DRSVersionDevice),
		ContentType: "application/json",
		Body:        raw,
	})
	if err != nil {
		return nil, opError(op, err)
	}
	key, ok := join.DeviceKey.(tpm.Signer)
	if !ok {
		return nil, errors.New("broker: the device key is not one of the key store")
	}
	return readCertificate(op, rep, key)
}

func (b *Broker) identity(ctx context.Context, key tpm.Signer, sid string) (hybridIdentity, error) {
	id := hybridIdentity{Type: "sha256signed", SID: sid + "." + b.cfg.Now().UTC().Format("2006-01-02 15:04:05Z")}
	sum := sha256.Sum256([]byte(id.SID))
	sig, err := key.SignContext(ctx, sum[:], crypto.SHA256)
	if err != nil {
		return id, keyError("signing for the computer", err)
	}
	id.SignedBlob = sig
	return id, nil
}
