package broker_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/wire"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

// elsewhereProgram is a program that registers this machine with keys in files.
type elsewhereProgram struct {
	key, transport *rsa.PrivateKey
	cert           *prt.DeviceCertificate
}

type fileSigner struct{ *rsa.PrivateKey }

func (s fileSigner) SignContext(_ context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.Sign(rand.Reader, digest, opts)
}

// registerElsewhere registers alice's machine; transport nil is the device key.
func (w *world) registerElsewhere(t testing.TB, join prt.JoinType, key, transport *rsa.PrivateKey) elsewhereProgram {
	t.Helper()
	if transport == nil {
		transport = key
	}
	body, err := prt.JoinRequest{DeviceKey: fileSigner{key}, TransportKey: &transport.PublicKey, Type: join,
		Domain: "contoso.example", DisplayName: "pc-9", OSVersion: "Debian 12"}.Marshal(t.Context())
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://enterpriseregistration.windows.net/EnrollmentServer/device/?api-version=2.0", bytes.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+w.registrationToken(t))
	req.Header.Set("Content-Type", "application/json")
	rep, err := w.srv.Client().Do(req)
	require.NoError(t, err)
	defer rep.Body.Close()
	text, err := io.ReadAll(rep.Body)
	require.NoError(t, err)
	joined, err := prt.ParseJoin(text)
	require.NoError(t, err, string(text))
	return elsewhereProgram{key, transport, joined.Certificate}
}

func (w *world) registrationToken(t testing.TB) string {
	t.Helper()
	rep, err := w.srv.Client().PostForm("https://login.microsoftonline.com/contoso.example/oauth2/token", url.Values{
		"grant_type": {wire.GrantPassword}, "client_id": {wire.ClientBroker}, "resource": {wire.ResourceRegistration},
		"username": {alice}, "password": {password},
	})
	require.NoError(t, err)
	defer rep.Body.Close()
	var body struct {
		AccessToken string `json:"access_token"`
	}
	require.NoError(t, json.NewDecoder(rep.Body).Decode(&body))
	return body.AccessToken
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func pkcs8(t testing.TB, key crypto.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return pemOf("PRIVATE KEY", der)
}

// importer is a machine whose key store takes keys, and which is registered
// already, by another program.
func importer(t *testing.T, join prt.JoinType, two bool, changes ...change) (*world, elsewhereProgram) {
	t.Helper()
	w := newWorld(t, append(changes, withKeys(softwareKeys(t)))...)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	var transport *rsa.PrivateKey
	if two {
		transport, err = rsa.GenerateKey(rand.Reader, 2048)
		require.NoError(t, err)
	}
	return w, w.registerElsewhere(t, join, key, transport)
}

// A machine that another program registered signs in without registering again,
// in whatever form its files are.
func TestImportDevice(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		join prt.JoinType
		two  bool
		in   func(t *testing.T, p elsewhereProgram) broker.DeviceImport
	}{
		{"two keys, PEM", prt.JoinEntra, true, func(t *testing.T, p elsewhereProgram) broker.DeviceImport {
			return broker.DeviceImport{Certificate: pemOf("CERTIFICATE", p.cert.DER), Key: pkcs8(t, p.key), TransportKey: pkcs8(t, p.transport)}
		}},
		{"one key, PKCS #1, certificate in DER", prt.JoinPersonal, false, func(_ *testing.T, p elsewhereProgram) broker.DeviceImport {
			return broker.DeviceImport{Certificate: p.cert.DER, Key: pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(p.key))}
		}},
		{"one file for all", prt.JoinEntra, false, func(t *testing.T, p elsewhereProgram) broker.DeviceImport {
			both := append(pemOf("CERTIFICATE", p.cert.DER), pkcs8(t, p.key)...)
			return broker.DeviceImport{Certificate: both, Key: both}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, p := importer(t, tt.join, tt.two)
			w.store = fileStore(t, filepath.Join(t.TempDir(), "state"))
			w.cfg.Store = w.store
			log := &logbook{}
			w.cfg.Logger = slog.New(log)
			w.b = w.open()
			in := tt.in(t, p)
			w.clock.Advance(30 * time.Minute)
			w.wire.take()
			d, err := w.b.ImportDevice(t.Context(), in)
			require.NoError(t, err)
			for _, request := range w.wire.take() {
				require.NotContains(t, request, "POST", "nothing is registered")
			}
			require.Equal(t, p.cert.DeviceID, d.ID)
			require.Equal(t, w.srv.TenantID(), d.TenantID)
			require.Equal(t, tt.join, d.JoinType)
			require.Equal(t, w.clock.Now(), d.Registered)
			require.False(t, d.Existing)
			require.Contains(t, log.take(), "device imported")

			w.b = w.open() // another process
			again, err := w.b.ImportDevice(t.Context(), in)
			require.NoError(t, err)
			require.True(t, again.Existing)
			require.NotContains(t, log.take(), "device imported")
			same, err := w.b.RegisterDevice(t.Context(), broker.RegisterRequest{JoinType: tt.join})
			require.NoError(t, err)
			require.True(t, same.Existing)
			require.Equal(t, d.ID, same.ID)

			w.signIn()
			res := w.silent(open)
			require.Equal(t, broker.SourcePRT, res.Metadata.Source)
			tok, err := claims.Parse(res.AccessToken)
			require.NoError(t, err)
			require.Equal(t, d.ID, tok.DeviceID)
			require.Len(t, w.srv.Devices(), 1)
			require.NoError(t, w.b.UnregisterDevice(t.Context()))
			require.Empty(t, w.srv.Devices())
		})
	}
}

// A certificate does not say that a device is of the on-premises directory too: the
// caller does.
func TestImportHybridDevice(t *testing.T) {
	t.Parallel()
	w, p := importer(t, prt.JoinEntra, false)
	d, err := w.b.ImportDevice(t.Context(), broker.DeviceImport{Certificate: p.cert.DER, Key: pkcs8(t, p.key), Hybrid: true})
	require.NoError(t, err)
	require.Equal(t, prt.JoinHybrid, d.JoinType)
	_, err = w.b.RegisterDevice(t.Context(), broker.RegisterRequest{JoinType: prt.JoinEntra})
	require.ErrorContains(t, err, "unregister it before")
	w.signIn()
	w.silent(open)
}

func TestImportDeviceRefusals(t *testing.T) {
	t.Parallel()
	w, p := importer(t, prt.JoinEntra, false)
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	good := func() broker.DeviceImport {
		return broker.DeviceImport{Certificate: pemOf("CERTIFICATE", p.cert.DER), Key: pkcs8(t, p.key)}
	}
	unnamed := selfSigned(t, p.key, "pc-9")
	for _, tt := range []struct {
		name   string
		change func(*broker.DeviceImport)
		says   string
	}{
		{"nothing", func(in *broker.DeviceImport) { *in = broker.DeviceImport{} }, "Certificate is not a device certificate"},
		{"no certificate", func(in *broker.DeviceImport) { in.Certificate = nil }, "Certificate is not a device certificate"},
		{"a certificate of something else", func(in *broker.DeviceImport) { in.Certificate = unnamed }, "names no device"},
		{"no key", func(in *broker.DeviceImport) { in.Key = nil }, "Key has no PRIVATE KEY block"},
		{"a key in DER", func(in *broker.DeviceImport) { in.Key = x509.MarshalPKCS1PrivateKey(p.key) }, "Key has no PRIVATE KEY block"},
		{"an encrypted key", func(in *broker.DeviceImport) { in.Key = pemOf("ENCRYPTED PRIVATE KEY", []byte{0x30, 0}) }, "Key is encrypted"},
		{"an encrypted key, old form", func(in *broker.DeviceImport) {
			in.Key = pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}, Bytes: []byte{1}})
		}, "Key is encrypted"},
		{"a broken key", func(in *broker.DeviceImport) { in.Key = pemOf("PRIVATE KEY", []byte{0x30, 0}) }, "Key is not a private key"},
		{"a broken key, PKCS #1", func(in *broker.DeviceImport) { in.Key = pemOf("RSA PRIVATE KEY", []byte{0x30, 0}) }, "Key is not a private key"},
		{"a key that cannot sign", func(in *broker.DeviceImport) {
			k, err := ecdh.X25519().GenerateKey(rand.Reader)
			require.NoError(t, err)
			der, err := x509.MarshalPKCS8PrivateKey(k)
			require.NoError(t, err)
			in.Key = pemOf("PRIVATE KEY", der)
		}, "Key is not a private key"},
		{"a broken transport key", func(in *broker.DeviceImport) { in.TransportKey = []byte("nonsense") }, "TransportKey has no PRIVATE KEY block"},
		{"another key", func(in *broker.DeviceImport) { in.Key = pkcs8(t, stranger) }, "the certificate is not for this key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := good()
			tt.change(&in)
			_, err := w.b.ImportDevice(t.Context(), in)
			require.ErrorContains(t, err, tt.says)
			require.ErrorContains(t, err, "import device")
		})
	}
	t.Run("not valid yet", func(t *testing.T) {
		cfg := w.cfg
		cfg.Now = func() time.Time { return p.cert.NotBefore.Add(-time.Second) }
		_, err := openWith(t, cfg).ImportDevice(t.Context(), good())
		require.ErrorContains(t, err, "the certificate is not valid before")
	})
	t.Run("expired", func(t *testing.T) {
		cfg := w.cfg
		cfg.Now = func() time.Time { return p.cert.NotAfter.Add(time.Second) }
		_, err := openWith(t, cfg).ImportDevice(t.Context(), good())
		require.ErrorContains(t, err, "the certificate expired on")
	})
	t.Run("another tenant", func(t *testing.T) {
		cfg := w.cfg
		cfg.Tenant = "99999999-8888-4777-8666-555555555555"
		cfg.Cloud = broker.CloudPublic // a GUID is not looked up
		_, err := openWith(t, cfg).ImportDevice(t.Context(), good())
		require.ErrorContains(t, err, "the certificate is for the tenant "+w.srv.TenantID())
	})
	t.Run("a TPM", func(t *testing.T) {
		keys, _ := softwareTPM(t)
		cfg := w.cfg
		cfg.Keys, cfg.Store = keys, nil
		_, err := openWith(t, cfg).ImportDevice(t.Context(), good())
		require.ErrorIs(t, err, tpm.ErrNoImport)
		require.ErrorContains(t, err, "cannot import keys")
		require.NotErrorIs(t, err, broker.ErrKeyUnusable)
	})
	_, err = w.b.RegisterDevice(t.Context(), broker.RegisterRequest{Credential: broker.RefreshToken{Token: "none"}})
	require.ErrorIs(t, err, broker.ErrInteractionRequired, "none of these left anything: it asks the service")
}

// A machine that another program registered a moment ago is not known everywhere
// yet, which the first sign-in waits for.
func TestImportDeviceNotReplicated(t *testing.T) {
	t.Parallel()
	w, p := importer(t, prt.JoinEntra, false, withOptions(func(o *entratest.Options) { o.ReplicationLag = 10 * time.Second }))
	_, err := w.b.ImportDevice(t.Context(), broker.DeviceImport{Certificate: p.cert.DER, Key: pkcs8(t, p.key)})
	require.NoError(t, err)
	w.signIn()
}

// A registration that is here is not replaced, nor one that was begun: its device
// object may exist.
func TestImportDeviceKeepsWhatIsHere(t *testing.T) {
	t.Parallel()
	w, p := importer(t, prt.JoinEntra, false)
	in := broker.DeviceImport{Certificate: p.cert.DER, Key: pkcs8(t, p.key)}
	here := w.join()
	_, err := w.b.ImportDevice(t.Context(), in)
	require.ErrorContains(t, err, "this machine already has a registration")
	d, err := w.b.RegisterDevice(t.Context(), broker.RegisterRequest{})
	require.NoError(t, err)
	require.Equal(t, here.ID, d.ID)

	require.NoError(t, w.b.ForgetDevice(t.Context()))
	w.wire.set(nil, func(r *http.Request) error {
		if r.URL.Path == "/EnrollmentServer/device/" {
			return errCut
		}
		return nil
	})
	_, err = w.b.RegisterDevice(t.Context(), broker.RegisterRequest{Credential: broker.Password{Username: alice, Password: password}})
	require.ErrorIs(t, err, broker.ErrTransient)
	w.wire.set(nil, nil)
	_, err = w.b.ImportDevice(t.Context(), in)
	require.ErrorContains(t, err, "already has a registration, finished or not")

	require.NoError(t, w.b.ForgetDevice(t.Context()))
	d, err = w.b.ImportDevice(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, p.cert.DeviceID, d.ID)
}

func selfSigned(t *testing.T, key *rsa.PrivateKey, name string) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2049, 1, 1, 0, 0, 0, 0, time.UTC)}
	template.Subject.CommonName = name
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	return der
}

// openWith is a broker with an empty store of its own.
func openWith(t *testing.T, cfg broker.Config) *broker.Broker {
	t.Helper()
	cfg.Store = &store.Memory{}
	b, err := broker.New(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}
