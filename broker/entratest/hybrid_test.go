package entratest_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

func TestHybridJoin(t *testing.T) {
	c, clock := start(t)
	computer := pool()[2]
	const id, sid = "55555555-0000-4000-8000-000000000001", "S-1-5-21-1-2-3-1104"
	body := func(change func(id map[string]string)) map[string]any {
		stamped := sid + "." + clock.Now().UTC().Format("2006-01-02 15:04:05Z")
		sum := sha256.Sum256([]byte(stamped))
		sig, err := rsa.SignPKCS1v15(nil, computer, crypto.SHA256, sum[:])
		require.NoError(t, err)
		identity := map[string]string{"Type": "sha256signed", "Sid": stamped, "SignedBlob": base64.StdEncoding.EncodeToString(sig)}
		change(identity)
		return map[string]any{"JoinType": 6, "CertificateRequest": c.joinBody(0)["CertificateRequest"], "attributes": map[string]string{"ReturnClientSid": "true"},
			"ServerAdJoinData": map[string]any{"TransportKey": c.joinBody(0)["TransportKey"], "TargetDomain": c.s.Domain(), "DeviceType": "Windows",
				"OSVersion": "10.0.19045", "DeviceDisplayName": "PC1", "TargetDomainId": c.s.TenantID(), "ClientIdentity": identity}}
	}
	put := func(change func(map[string]string)) *reply {
		return c.json("PUT", drs+"/EnrollmentServer/device/"+id+"?api-version=2.0", "", body(change))
	}
	good := func(map[string]string) {}
	require.Equal(t, "DirectoryError", put(good).str("ErrorType"), "not synchronised yet")
	require.NoError(t, c.s.SyncComputer(entratest.Computer{ID: id, SID: sid, Name: "PC1", PublicKey: &computer.PublicKey}))
	require.Equal(t, 401, put(func(m map[string]string) { m["Type"] = "none" }).status)
	require.Equal(t, 401, put(func(m map[string]string) { m["SignedBlob"] = base64.StdEncoding.EncodeToString(make([]byte, 256)) }).status)
	require.Equal(t, 401, put(func(m map[string]string) { m["Sid"] = strings.Replace(m["Sid"], sid, "S-1-5-21-9", 1) }).status)
	require.Equal(t, 401, put(func(map[string]string) { clock.Advance(time.Hour) }).status)
	r := put(good)
	require.Equal(t, 200, r.status, "%s", r.body)
	c.useCertificate(r)
	require.Equal(t, id, c.deviceID)
	require.Equal(t, "ServerAd", c.s.Devices()[0].TrustType)

	c.agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
	require.Equal(t, 200, c.passwordPRT("alice").status)
	c.policy(`"domainJoinedDevice"`)
	require.Equal(t, 200, c.exchange(payrollID, "api://payroll").status)
}

// A join that names the key of the user's own device gets the same object.
func TestReuseDevice(t *testing.T) {
	c, _ := start(t)
	c.join("alice", 0)
	first := c.deviceID
	reuse := func(m map[string]any) { m["Attributes"] = map[string]string{"ReuseDevice": "True"} }
	r := c.tryJoin(reuse)
	require.Equal(t, 200, r.status, "%s", r.body)
	old := c.cert
	c.useCertificate(r)
	require.Equal(t, first, c.deviceID)
	require.Len(t, c.s.Devices(), 1)
	require.Equal(t, 200, c.passwordPRT("alice").status)
	c.cert = old
	require.Equal(t, 50155, c.passwordPRT("alice").code(), "the first certificate is replaced")
	c.join("alice", 0)
	require.Len(t, c.s.Devices(), 2, "without the attribute it is another device")
	require.NoError(t, c.s.DeleteDevice(c.deviceID))
	c.useCertificate(c.tryJoin(reuse))
	require.Len(t, c.s.Devices(), 2, "of a deleted device nothing is left")
}
