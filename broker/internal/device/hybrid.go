package device

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

var (
	// ErrComputer: what identifies the computer is not a GUID and a SID.
	ErrComputer = errors.New("broker: a hybrid registration needs the computer's objectGUID and SID")
	// ErrNoComputer: a hybrid registration lacks the computer, or its certificate.
	ErrNoComputer = errors.New("broker: a hybrid registration needs a computer with a certificate")
)

// A Computer is one of the on-premises directory.
type Computer struct {
	ObjectID         string // its objectGUID, which becomes the device id
	SID              string
	DomainController string // where it was changed last; may be empty
}

const (
	hybridFirstWait = 15 * time.Second
	hybridMaxWait   = 5 * time.Minute
	hybridTries     = 16 // about an hour: the directories are synced each half hour
	certLife        = 10 * 365 * 24 * time.Hour
)

var (
	computerPattern = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	sidPattern      = regexp.MustCompile(`^S-1-5-21(-[0-9]{1,10}){4}$`)
)

// ComputerCertificate returns the self-signed certificate that the caller writes
// into the computer object. Its key stays in the key store.
func (k *Keeper) ComputerCertificate(ctx context.Context, c Computer) ([]byte, error) {
	c, err := c.normalized()
	if err != nil {
		return nil, err
	}
	release, err := k.Lease(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	stored, err := k.prepare(ctx, Request{JoinType: prt.JoinHybrid})
	if err != nil {
		return nil, err
	}
	defer stored.vault.Close()
	key, err := k.directoryKey(ctx, stored)
	if err != nil {
		return nil, err
	}
	defer key.Close()
	return k.selfSigned(ctx, key, c.ObjectID)
}

// normalized returns the computer as requests name it. The caller's own value may be
// in use elsewhere.
func (c Computer) normalized() (Computer, error) {
	c.ObjectID = strings.ToLower(c.ObjectID)
	if !computerPattern.MatchString(c.ObjectID) || !sidPattern.MatchString(c.SID) {
		return Computer{}, ErrComputer
	}
	return c, nil
}

// directoryKey opens the key of the on-premises certificate, or makes it.
func (k *Keeper) directoryKey(ctx context.Context, stored *Stored) (tpm.Signer, error) {
	if blob := stored.record.DirectoryKey; blob != nil {
		opened, err := k.cfg.Keys.OpenKey(ctx, blob)
		if err != nil {
			return nil, fmt.Errorf("opening the on-premises key: %w", err)
		}
		if s, ok := opened.(tpm.Signer); ok {
			return s, nil
		}
		_ = opened.Close()
		return nil, store.ErrDamaged
	}
	made, err := k.cfg.Keys.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Sign})
	if err != nil {
		return nil, fmt.Errorf("making the on-premises key: %w", err)
	}
	s, ok := made.(tpm.Signer)
	if !ok {
		_ = made.Close()
		return nil, errors.New("broker: the key store made a key that cannot sign")
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

func (k *Keeper) selfSigned(ctx context.Context, key tpm.Signer, objectID string) ([]byte, error) {
	serial := make([]byte, 16)
	if _, err := io.ReadFull(k.cfg.Rand, serial); err != nil {
		return nil, err
	}
	serial[0] &= 0x7f
	now := k.cfg.Now()
	template := &x509.Certificate{
		SerialNumber:       new(big.Int).SetBytes(serial),
		Subject:            pkix.Name{CommonName: objectID},
		NotBefore:          now.Add(-30 * time.Minute),
		NotAfter:           now.Add(certLife),
		SignatureAlgorithm: x509.SHA256WithRSA,
	}
	return x509.CreateCertificate(k.cfg.Rand, template, template, key.Public(), boundSigner{ctx, key})
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

// TLSCertificate is the device certificate with its key, for mutual TLS. The
// device key signs with RSASSA-PKCS1-v1_5, which TLS 1.2 supports and TLS 1.3
// does not.
func (d *Device) TLSCertificate(ctx context.Context) tls.Certificate {
	return tls.Certificate{
		Certificate:                  [][]byte{d.Cert.DER},
		PrivateKey:                   boundSigner{ctx, d.Key},
		SupportedSignatureAlgorithms: []tls.SignatureScheme{tls.PKCS1WithSHA256},
	}
}

type hybridJSON struct {
	CertificateRequest struct {
		Type string `json:"Type"`
		Data []byte `json:"Data"`
	} `json:"CertificateRequest"`
	JoinType         prt.JoinType      `json:"JoinType"`
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

// hybridJoin asks again until the directory knows the computer's certificate.
func (k *Keeper) hybridJoin(ctx context.Context, req *Request, r *Record, join prt.JoinRequest, key tpm.Signer) (*prt.DeviceCertificate, error) {
	if req.Computer == nil || r.DirectoryKey == nil {
		return nil, ErrNoComputer
	}
	computer, err := req.Computer.normalized()
	if err != nil {
		return nil, err
	}
	directory, err := k.directoryKey(ctx, &Stored{record: r})
	if err != nil {
		return nil, err
	}
	defer directory.Close()
	wait := hybridFirstWait
	for try := 1; ; try++ {
		cert, err := k.hybridOnce(ctx, computer, r, join, key, directory)
		if err == nil || try == hybridTries || !unsynced(err) {
			return cert, err
		}
		k.cfg.Logger.InfoContext(ctx, "the directory has not synced the computer yet", "wait", wait, "error", err)
		if err := k.cfg.Sleep(ctx, wait); err != nil {
			return nil, err
		}
		wait = min(2*wait, hybridMaxWait)
	}
}

// unsynced reports whether the service said that the directory does not have
// the computer yet, or nothing was sent. Any other error leaves open whether
// the request was handled, and a registration must be sent only once.
func unsynced(err error) bool {
	var e *sts.Error
	return errors.As(err, &e) && e.Said && e.OAuth == "DirectoryError" || errors.Is(err, tpm.ErrBusy)
}

func (k *Keeper) hybridOnce(ctx context.Context, computer Computer, r *Record, join prt.JoinRequest, key, directory tpm.Signer) (*prt.DeviceCertificate, error) {
	var body hybridJSON
	var err error
	body.JoinType, body.Attributes = prt.JoinHybrid, map[string]string{"ReturnClientSid": "true"}
	body.CertificateRequest.Type = "pkcs10"
	if body.CertificateRequest.Data, err = prt.CSR(ctx, key); err != nil {
		return nil, err
	}
	body.ServerAdJoinData = hybridData{
		TargetDomain:           join.Domain,
		DeviceType:             join.DeviceType,
		OSVersion:              join.OSVersion,
		DeviceDisplayName:      join.DisplayName,
		SourceDomainController: computer.DomainController,
		TargetDomainID:         r.TenantID,
	}
	if body.ServerAdJoinData.TransportKey, err = prt.MarshalPublicKey(join.TransportKey); err != nil {
		return nil, err
	}
	if body.ServerAdJoinData.ClientIdentity, err = k.identity(ctx, directory, computer.SID); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	address := sts.WithVersion(strings.TrimSuffix(r.Endpoints.Join, "/")+"/"+computer.ObjectID, wire.DRSVersionDevice)
	rep, err := k.cfg.Services.Register(ctx, http.MethodPut, address, raw, prt.Secret{}, computer.SID)
	if err != nil {
		return nil, err
	}
	return readCertificate(rep, key)
}

func (k *Keeper) identity(ctx context.Context, key tpm.Signer, sid string) (hybridIdentity, error) {
	id := hybridIdentity{Type: "sha256signed", SID: sid + "." + k.cfg.Services.Now().UTC().Format("2006-01-02 15:04:05Z")}
	sum := sha256.Sum256([]byte(id.SID))
	sig, err := key.SignContext(ctx, sum[:], crypto.SHA256)
	if err != nil {
		return id, fmt.Errorf("signing for the computer: %w", err)
	}
	id.SignedBlob = sig
	return id, nil
}
