package mint

import (
	"bytes"
	"crypto/rsa"
	"encoding/base64"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/testkeys"
)

// sshBackdate is how long before its issue an SSH certificate becomes valid, for
// machines whose clocks are behind.
const sshBackdate = 5 * time.Minute

// nonceSSH is how many random bytes a certificate begins with.
const nonceSSH = 32

// SSHCertificate makes the certificate that replaces an access token for Azure virtual
// machines: base64 of an OpenSSH user certificate, whose key id and
// extensions name the user and the tenant, and whose principal is the user name
// (libhimmelblau, ssh.rs, which reads the service's certificates).
func (m *Mint) SSHCertificate(in *Issuance, expires time.Time) (string, error) {
	pub, err := ssh.NewPublicKey(in.SSH)
	if err != nil {
		return "", err
	}
	authority, err := ssh.NewSignerFromKey(testkeys.UserAuthority())
	if err != nil {
		return "", err
	}
	signer, err := ssh.NewSignerWithAlgorithms(authority.(ssh.AlgorithmSigner), []string{ssh.KeyAlgoRSASHA256})
	if err != nil {
		return "", err
	}
	u := in.User
	c := &ssh.Certificate{
		Key: pub, CertType: ssh.UserCert, KeyId: u.ID + "@" + u.Tenant.ID,
		ValidPrincipals: []string{u.UPN}, ValidAfter: uint64(in.Now.Add(-sshBackdate).Unix()), ValidBefore: uint64(expires.Unix()),
		Permissions: ssh.Permissions{Extensions: map[string]string{
			"tid@sshservice.azure.net": u.Tenant.ID, "oid@sshservice.azure.net": u.ID, "displayname@sshservice.azure.net": u.Name,
			"permit-X11-forwarding": "", "permit-agent-forwarding": "", "permit-port-forwarding": "", "permit-pty": "", "permit-user-rc": "",
		}},
	}
	if err := c.SignCert(bytes.NewReader(m.Keeper.Rand.Bytes(nonceSSH)), signer); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(c.Marshal()), nil
}

// minSSHKey is the shortest RSA key that gets an SSH certificate, in bytes.
const minSSHKey = 2048 / 8

// SSHKey reports whether a key is long enough for an SSH certificate.
func SSHKey(pub *rsa.PublicKey) bool { return pub.Size() >= minSSHKey }
