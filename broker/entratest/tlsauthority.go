package entratest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"time"
)

// tlsAuthority signs the server's TLS certificate. Its key is random whatever
// the seed: it can certify the real host names, so it must stay secret.
type tlsAuthority struct {
	der, pem []byte // of the authority
	key      crypto.Signer
	leaf     tls.Certificate
}

// The virtual clock may show any year, while the TLS stacks of clients use the
// real time: certificates are valid at both.
var (
	tlsNotBefore = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	tlsNotAfter  = time.Date(2099, 12, 31, 0, 0, 0, 0, time.UTC)
)

func newTLSAuthority(hosts []string) (*tlsAuthority, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "entratest, for tests only"},
		NotBefore:             tlsNotBefore,
		NotAfter:              tlsNotAfter,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return nil, err
	}
	return tlsAuthorityFrom(caDER, caKey, hosts)
}

// tlsAuthorityFrom makes a server certificate under an authority.
func tlsAuthorityFrom(caDER []byte, caKey any, hosts []string) (*tlsAuthority, error) {
	signer, ok := caKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("the TLS authority has no signing key")
	}
	ca, err := x509.ParseCertificate(caDER)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: hosts[0]},
		NotBefore:    tlsNotBefore,
		NotAfter:     tlsNotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     append([]string{"localhost"}, hosts...),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}, ca, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	return &tlsAuthority{
		der: caDER,
		key: signer,
		pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}),
		// The chain omits the authority: Firefox was seen to hang when a server that
		// sends its root asks for a user certificate.
		leaf: tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: key},
	}, nil
}
