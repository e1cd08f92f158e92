package broker_test

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/prt"
)

const (
	computerID  = "5b0b6a3e-7c1d-4c0e-9b53-0d6a4c1f2e01"
	computerSID = "S-1-5-21-1004336348-1177238915-682003330-1105"
)

// A hybrid join waits until the computer's certificate has come from the
// on-premises directory.
func TestHybridJoin(t *testing.T) {
	t.Parallel()
	keys, _ := softwareTPM(t) // the device key and the key of the computer are two keys
	w := newWorld(t, withKeys(keys))
	computer := broker.OnPremises{ObjectID: strings.ToUpper(computerID), SID: computerSID}
	given := computer
	_, err := w.b.RegisterDevice(t.Context(), broker.RegisterRequest{JoinType: prt.JoinHybrid, OnPremises: &computer})
	require.ErrorContains(t, err, "OnPremisesCertificate before it")

	der, err := w.b.OnPremisesCertificate(t.Context(), computer)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	require.Equal(t, computerID, cert.Subject.CommonName)
	require.NoError(t, cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature))
	again, err := w.b.OnPremisesCertificate(t.Context(), computer)
	require.NoError(t, err)
	other, err := x509.ParseCertificate(again)
	require.NoError(t, err)
	require.Equal(t, cert.PublicKey, other.PublicKey, "the key stays")

	waits := 0
	broker.SetSleep(w.b, func(ctx context.Context, d time.Duration) error {
		w.clock.Advance(d)
		if waits++; waits == 3 {
			require.NoError(t, w.srv.SyncComputer(entratest.Computer{
				ID: computerID, SID: computerSID, Name: "PC-1", PublicKey: cert.PublicKey.(*rsa.PublicKey),
			}))
		}
		return ctx.Err()
	})
	d, err := w.b.RegisterDevice(t.Context(), broker.RegisterRequest{JoinType: prt.JoinHybrid, OnPremises: &computer})
	require.NoError(t, err)
	require.Equal(t, 3, waits)
	require.Equal(t, computerID, d.ID)
	require.Equal(t, prt.JoinHybrid, d.JoinType)
	require.Equal(t, given, computer, "the caller's value is the caller's")
	s, err := w.b.Status(t.Context())
	require.NoError(t, err)
	require.Contains(t, s.String(), "DomainJoined : YES")
	w.signIn()
	w.silent(graph)
}

func TestHybridNeedsTheComputer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []broker.OnPremises{{}, {ObjectID: computerID}, {ObjectID: "x", SID: computerSID}, {ObjectID: computerID, SID: "S-1-5-18"}} {
		_, err := w.b.OnPremisesCertificate(t.Context(), c)
		require.ErrorContains(t, err, "OnPremises needs the objectGUID and the SID of the computer")
	}
	_, err := w.b.Enroll(t.Context(), broker.AuthCode{}, broker.EnrollRequest{JoinType: prt.JoinHybrid})
	require.ErrorContains(t, err, "register a hybrid device with RegisterDevice")
}

// A hybrid join that somebody on the way answered may have been handled: it is
// not sent again. That the directory has not synced is the service's own word.
func TestHybridJoinIsSentOnce(t *testing.T) {
	t.Parallel()
	for name, answer := range strangers {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withMemory)
			computer := broker.OnPremises{ObjectID: computerID, SID: computerSID}
			_, err := w.b.OnPremisesCertificate(t.Context(), computer)
			require.NoError(t, err)
			sent, inner := 0, w.wire.inner
			w.wire.inner = apiDo(func(r *http.Request) (*http.Response, error) {
				if r.Method != http.MethodPut {
					return inner.Do(r)
				}
				sent++
				return answer(), nil
			})
			_, err = w.b.RegisterDevice(t.Context(), broker.RegisterRequest{JoinType: prt.JoinHybrid, OnPremises: &computer})
			require.ErrorIs(t, err, broker.ErrTransient)
			require.Equal(t, 1, sent)
		})
	}
}
