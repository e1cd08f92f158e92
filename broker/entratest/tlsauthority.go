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
	"slices"
	"time"
)

// tlsAuthority signs the server's TLS certificate. Its key is random whatever
// the seed: it can certify the real host names, so it must stay secret.
type tlsAuthority struct {
	der, pem []byte // of the authority
	ca       *x509.Certificate
	key      crypto.Signer
	hosts    []string // real host names
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

// tlsAuthorityFrom returns the authority with a certificate for the hosts.
func tlsAuthorityFrom(caDER []byte, caKey any, hosts []string) (*tlsAuthority, error) {
	signer, ok := caKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("the TLS authority has no signing key")
	}
	ca, err := x509.ParseCertificate(caDER)
	if err != nil {
		return nil, err
	}
	a := &tlsAuthority{
		der: caDER,
		ca:  ca,
		key: signer,
		pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}),

		hosts: hosts,
	}
	a.leaf, err = a.certificate(nil)
	return a, err
}

// certificate makes a server certificate for the real host names, for localhost, and
// for more host names and IP addresses.
func (a *tlsAuthority) certificate(more []string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(2)), // the authority has 1
		Subject:      pkix.Name{CommonName: a.hosts[0]},
		NotBefore:    tlsNotBefore,
		NotAfter:     tlsNotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     append([]string{"localhost"}, a.hosts...),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	for _, name := range more {
		if ip := net.ParseIP(name); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else if !slices.Contains(leaf.DNSNames, name) {
			leaf.DNSNames = append(leaf.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.ca, key.Public(), a.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	// The chain omits the authority: Firefox was seen to hang when a server that
	// sends its root asks for a user certificate.
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
