package entratest_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// pythonWithCryptography returns a Python that has the package, the system's
// where the first one on the PATH lacks it.
func pythonWithCryptography(t *testing.T) string {
	t.Helper()
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(python, "-c", "import cryptography").Run() == nil {
			return python
		}
	}
	missing(t, "python3 with cryptography is not installed (apt-get install python3-cryptography)")
	return ""
}

// missing skips a test that needs another program, or fails it where all of
// them are required (make test).
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("PRTBROKER_REQUIRE_TOOLS") == "1" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// Python's cryptography opens what the server encrypts and checks what it signs.
func TestByPython(t *testing.T) {
	python := pythonWithCryptography(t)
	for _, gcm := range []bool{false, true} {
		o := options(entratest.NewClock(time.Time{}))
		o.GCMReplies = gcm
		c := newClient(t, entratest.NewTB(t, o))
		c.join("alice", 0)
		prt := c.passwordPRT("alice")
		jws := c.sessionJWS(map[string]any{"client_id": payrollID, "refresh_token": c.prt, "grant_type": "refresh_token", "request_nonce": c.nonce(),
			"scope": "openid", "resource": "api://payroll", "redirect_uri": nativeURI})
		sealed := c.token("grant_type", jwtBearer, "request", jws, "windows_api_version", "2.2")
		require.Nil(t, sealed.v)
		in, _ := json.Marshal(map[string]any{
			"d": c.transport.D.Text(16), "p": c.transport.Primes[0].Text(16), "q": c.transport.Primes[1].Text(16), "n": c.transport.N.Text(16),
			"session_key_jwe": prt.str("session_key_jwe"), "reply": string(sealed.body), "keys": c.get(login + "/common/discovery/keys").v, "cert": base64.StdEncoding.EncodeToString(c.cert),
		})
		cmd := exec.Command(python, "-c", pythonCheck)
		cmd.Stdin = strings.NewReader(string(in))
		out, err := cmd.Output()
		var ee *exec.ExitError
		if errors.As(err, &ee) {
			t.Fatalf("%s", ee.Stderr)
		}
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("%x alice@contoso.example %s", c.session, c.deviceID), strings.TrimSpace(string(out)))
	}
}

const pythonCheck = `
import base64, json, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, padding as sp
from cryptography.hazmat.primitives.asymmetric import rsa, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, Mode, CounterLocation
i = json.load(sys.stdin)
d = lambda s: base64.urlsafe_b64decode(s + "=" * (-len(s) % 4))
p, q, D, n = (int(i[k], 16) for k in "pqdn")
key = rsa.RSAPrivateNumbers(p, q, D, rsa.rsa_crt_dmp1(D, p), rsa.rsa_crt_dmq1(D, q), rsa.rsa_crt_iqmp(p, q), rsa.RSAPublicNumbers(65537, n)).private_key()
h, ek, iv, ct, tag = i["session_key_jwe"].split(".")
session = key.decrypt(d(ek), padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None))
assert AESGCM(session).decrypt(d(iv), d(ct) + d(tag), b"") == b" "
h, ek, iv, ct, tag = i["reply"].split(".")
ctx = base64.b64decode(json.loads(d(h))["ctx"])
k = KBKDFHMAC(algorithm=hashes.SHA256(), mode=Mode.CounterMode, length=32, rlen=4, llen=4, location=CounterLocation.BeforeFixed,
              label=b"AzureAD-SecureConversation", context=ctx, fixed=None).derive(session)
if tag:
    plain = AESGCM(k).decrypt(d(iv), d(ct) + d(tag), h.encode())
else:
    c = Cipher(algorithms.AES(k), modes.CBC(d(iv))).decryptor()
    u = sp.PKCS7(128).unpadder()
    plain = u.update(c.update(d(ct)) + c.finalize()) + u.finalize()
token = json.loads(plain)["access_token"]
th, tp, ts = token.split(".")
jwk = [x for x in i["keys"]["keys"] if x["kid"] == json.loads(d(th))["kid"]][0]
pub = rsa.RSAPublicNumbers(int.from_bytes(d(jwk["e"]), "big"), int.from_bytes(d(jwk["n"]), "big")).public_key()
pub.verify(d(ts), (th + "." + tp).encode(), padding.PKCS1v15(), hashes.SHA256())
signer = x509.load_der_x509_certificate(base64.b64decode(jwk["x5c"][0]))
assert signer.public_key() == pub
cert = x509.load_der_x509_certificate(base64.b64decode(i["cert"]))
assert len(cert.extensions) == 7
print(session.hex(), json.loads(d(tp))["upn"], cert.subject.rfc4514_string()[3:])
`
