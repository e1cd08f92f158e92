package tokenendpoint

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// appLinuxVM is Azure Linux VM Sign-In.
const appLinuxVM = "ce6ff14a-7fdc-4685-bbe0-f6afdfcfa8e0"

// confirm reads the key that a token is to be bound to (token_type and req_cnf): that
// of a PoP token, or that of an SSH certificate.
func confirm(r *web.Request, in *issuance) (err error) {
	in.CNF, in.SSH = "", nil
	switch strings.ToLower(r.Values.Get("token_type")) {
	case "pop":
		in.CNF, err = popKey(r.Values.Get("req_cnf"))
	case "ssh-cert":
		in.SSH, err = sshKey(r.Values.Get("req_cnf"))
		if err == nil && (in.target.Resource == nil || in.target.Resource.ID != appLinuxVM) {
			err = malformed("an SSH certificate is for Azure Linux VM Sign-In (%s)", appLinuxVM)
		}
	}
	return err
}

func malformed(why string, args ...any) error {
	return web.InvalidRequest(9002313, "Invalid request. Request is malformed or invalid.").Because(why, args...)
}

// popKey reads req_cnf of a PoP token: base64url of {"kid": thumbprint}.
func popKey(reqCnf string) (string, error) {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(reqCnf, "="))
	var c struct {
		Kid string `json:"kid"`
	}
	if err != nil || json.Unmarshal(raw, &c) != nil || c.Kid == "" {
		return "", malformed("req_cnf is not the base64url of an object with kid")
	}
	return c.Kid, nil
}

// sshKey reads req_cnf of an SSH certificate: an RSA key as a JWK in plain JSON, whose
// numbers some clients pad (the ssh extension of the Azure CLI, libhimmelblau).
func sshKey(reqCnf string) (*rsa.PublicKey, error) {
	var k struct {
		KTY string `json:"kty"`
		N   string `json:"n"`
		E   string `json:"e"`
		Kid string `json:"kid"`
	}
	if json.Unmarshal([]byte(reqCnf), &k) != nil || k.KTY != "RSA" || k.Kid == "" {
		return nil, malformed("req_cnf is not a JWK of an RSA key with kid")
	}
	n, errN := base64.RawURLEncoding.DecodeString(strings.TrimRight(k.N, "="))
	e, errE := base64.RawURLEncoding.DecodeString(strings.TrimRight(k.E, "="))
	if errN != nil || errE != nil || len(e) == 0 || len(e) > 4 {
		return nil, malformed("n or e of req_cnf is not a number in base64url")
	}
	pub := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	if !mint.SSHKey(pub) || pub.E < 3 {
		return nil, malformed("the key of req_cnf has less than 2048 bits")
	}
	return pub, nil
}
