// Package verify checks ID tokens and access tokens of Entra ID against the
// keys that the tenant publishes (JWKS).
//
//	keys, err := verify.ParseKeys([]byte(jwks))
//	if err != nil {
//		fmt.Println(err)
//		return
//	}
//	t, err := keys.Token(raw, verify.Options{Audience: []string{"api://mine"}, Required: []string{"oid"}, Now: now})
//
// It fetches nothing: the caller provides the keys, and refreshes them when
// [ErrUnknownKey] says that they are old.
package verify

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/strictjson"
)

// Errors that the package's errors wrap.
var (
	ErrKeys       = errors.New("malformed key set")                        // of [ParseKeys]
	ErrOptions    = errors.New("invalid options")                          // a mistake of the caller
	ErrMalformed  = claims.ErrMalformed                                    // not a JWT, or its claims cannot be read
	ErrAlgorithm  = errors.New("not signed with RS256")                    // by its alg
	ErrUnsigned   = errors.New("not signed")                               // alg none: see Options.InsecurePRTReply
	ErrUnknownKey = errors.New("signed with a key that is not in the set") // fetch the keys again
	ErrSignature  = errors.New("bad signature")
	ErrIssuer     = errors.New("wrong issuer")                // not in Options.Issuers, or the key does not sign for it
	ErrTenant     = errors.New("wrong tenant")                // no tenant id, or not in Options.Tenants
	ErrAudience   = errors.New("wrong audience")              // not in Options.Audience
	ErrExpired    = errors.New("expired")                     // exp, by more than the skew
	ErrNotYet     = errors.New("not yet valid")               // nbf or iat, by more than the skew
	ErrNonce      = errors.New("wrong nonce")                 // not Options.Nonce
	ErrMissing    = errors.New("a required claim is missing") // exp, or one of Options.Required
)

// DefaultSkew is how far the clocks of the service and of this machine may differ.
const DefaultSkew = 5 * time.Minute

// Issuers of the public cloud; {tenantid} stands for the token's tenant.
const (
	IssuerV1 = "https://sts.windows.net/{tenantid}/"
	IssuerV2 = "https://login.microsoftonline.com/{tenantid}/v2.0"
)

const placeholder = "{tenantid}"

// Options say what a token must be. Audience is required; what is left out is
// not checked, unless the field says otherwise.
type Options struct {
	// Audience lists the accepted audiences: the token's aud must be one of
	// them.
	Audience []string
	// Issuers are issuers or templates with {tenantid}. Nil: IssuerV1 and
	// IssuerV2.
	Issuers []string
	// Tenants are the tenant ids that are accepted. Nil: any tenant that the
	// issuer template and the key admit, for multi-tenant applications that
	// check the tenant themselves.
	Tenants []string
	// Nonce, if not empty, must be the token's nonce claim.
	Nonce string
	// Required are claims that must be there and not null, such as "oid".
	Required []string
	// Now is the time to check against; required.
	Now time.Time
	// Skew is how far clocks may differ. 0: DefaultSkew.
	Skew time.Duration
	// InsecurePRTReply accepts an unsigned token (alg none, empty signature),
	// as the id_token of a PRT reply is: TLS to the token endpoint vouches for
	// it. A signed one is still verified.
	InsecurePRTReply bool
}

// Keys are the signing keys of a tenant, or of all tenants.
type Keys struct{ byID map[string]key }

type key struct {
	public jwk.Key
	issuer string // template that the key signs for; empty: any
}

// MaxKeysSize is the size, in bytes, of the largest key set that is read.
const MaxKeysSize = 1 << 20

const minKeyBits = 2048

// ParseKeys reads a JWKS. Keys that are not RSA signing keys of at least 2048
// bits or that have no kid are left out; two of the same kid are refused.
func ParseKeys(jwks []byte) (*Keys, error) {
	o, err := strictjson.Parse(jwks, MaxKeysSize)
	if err != nil {
		return nil, fmt.Errorf("verify: %w: %w", ErrKeys, err)
	}
	k := &Keys{byID: map[string]key{}}
	for _, raw := range o.Array("keys") {
		entry, err := strictjson.Parse(raw, len(raw))
		if err != nil {
			return nil, fmt.Errorf("verify: %w: %w", ErrKeys, err)
		}
		kid, use := entry.String("kid"), entry.String("use")
		if entry.String("kty") != "RSA" || kid == "" || use != "" && use != "sig" {
			continue
		}
		public, err := jwk.ParseKey(raw)
		if err != nil {
			return nil, fmt.Errorf("verify: %w: a key does not parse", ErrKeys)
		}
		if !strong(public) {
			continue
		}
		if _, twice := k.byID[kid]; twice {
			return nil, fmt.Errorf("verify: %w: two keys of the same id", ErrKeys)
		}
		k.byID[kid] = key{public, entry.String("issuer")}
	}
	if err := o.Err(); err != nil {
		return nil, fmt.Errorf("verify: %w: %w", ErrKeys, err)
	}
	return k, nil
}

// strong reports whether a key is a public RSA key of a usual size. A private
// key in a key set is a mistake that must not pass.
func strong(k jwk.Key) bool {
	var pub rsa.PublicKey
	_, private := k.(jwk.RSAPrivateKey)
	return !private && k.Raw(&pub) == nil && pub.N.BitLen() >= minKeyBits
}

// Token verifies a token and returns what it says. It checks the signature
// (RS256 by the key that the kid names), duplicate members, the issuer and that
// the key signs for it, tenant, audience, times, and what the options ask for.
// Errors wrap the sentinels of this package and quote nothing from the token.
func (k *Keys) Token(raw string, o Options) (*claims.Token, error) {
	if len(o.Audience) == 0 || o.Now.IsZero() {
		return nil, fmt.Errorf("verify: %w: an audience and a time are needed", ErrOptions)
	}
	t, err := claims.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	signer, err := k.signature(raw, t, o)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	for _, check := range []func() error{
		func() error { return o.issuer(t, signer) },
		func() error { return o.audience(t) },
		func() error { return o.times(t) },
		func() error { return o.required(raw) },
	} {
		if err := check(); err != nil {
			return nil, fmt.Errorf("verify: %w", err)
		}
	}
	if o.Nonce != "" && t.Nonce != o.Nonce {
		return nil, fmt.Errorf("verify: %w", ErrNonce)
	}
	return t, nil
}

// signature verifies and returns the issuer template of the key.
func (k *Keys) signature(raw string, t *claims.Token, o Options) (template string, err error) {
	unsigned := strings.HasSuffix(raw, ".")
	switch {
	case unsigned && t.Algorithm == "none" && o.InsecurePRTReply:
		return "", nil
	case unsigned, strings.EqualFold(t.Algorithm, "none"):
		return "", ErrUnsigned
	case t.Algorithm != jwa.RS256.String():
		return "", ErrAlgorithm
	case k == nil:
		return "", ErrUnknownKey
	}
	signer, ok := k.byID[t.KeyID]
	if !ok {
		return "", ErrUnknownKey
	}
	signed, err := asSigned(raw, t)
	if err != nil {
		return "", err
	}
	if _, err := jws.Verify([]byte(signed), jws.WithKey(jwa.RS256, signer.public)); err != nil {
		return "", ErrSignature
	}
	return signer.issuer, nil
}

// asSigned returns the token as the service signed it. It refuses extensions
// that must be understood (crit, RFC 7515 4.1.11).
func asSigned(raw string, t *claims.Token) (string, error) {
	head, rest, _ := strings.Cut(raw, ".")
	header, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return "", ErrMalformed
	}
	o, err := strictjson.Parse(header, len(header))
	if err != nil || o.Has("crit") {
		return "", ErrMalformed
	}
	if !forGraph(t) {
		return raw, nil
	}
	if header, err = hashNonce(header, o); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(header) + "." + rest, nil
}

// graphAudiences are the names of Microsoft Graph in the aud claim, in the
// public and the national clouds.
var graphAudiences = []string{
	"00000003-0000-0000-c000-000000000000",
	"https://graph.microsoft.com",
	"https://graph.microsoft.us",
	"https://dod-graph.microsoft.us",
	"https://microsoftgraph.chinacloudapi.cn",
}

func forGraph(t *claims.Token) bool {
	return slices.ContainsFunc(t.Audience, func(a string) bool {
		return slices.Contains(graphAudiences, strings.TrimSuffix(a, "/"))
	})
}

// hashNonce undoes what the service does to tokens for Microsoft Graph: it
// signs a header whose nonce is the base64url SHA-256 of the nonce that the
// token then carries. Only the value is replaced; every other byte of the
// header stays, because the signature is over them.
func hashNonce(header []byte, o *strictjson.Object) ([]byte, error) {
	value := o.Raw("nonce")
	if value == nil {
		return header, nil
	}
	nonce := o.String("nonce")
	if o.Err() != nil || bytes.Count(header, value) != 1 {
		return nil, ErrMalformed
	}
	sum := sha256.Sum256([]byte(nonce))
	hashed := `"` + base64.RawURLEncoding.EncodeToString(sum[:]) + `"`
	return bytes.Replace(header, value, []byte(hashed), 1), nil
}

// issuer checks iss against the templates, with the tenant that the token
// itself names, and against the template of the key.
func (o Options) issuer(t *claims.Token, keyTemplate string) error {
	if !guid(t.TenantID) {
		return ErrTenant
	}
	if o.Tenants != nil && !slices.ContainsFunc(o.Tenants, func(id string) bool { return strings.EqualFold(id, t.TenantID) }) {
		return ErrTenant
	}
	templates := o.Issuers
	if templates == nil {
		templates = []string{IssuerV1, IssuerV2}
	}
	fits := func(template string) bool {
		return t.Issuer == strings.ReplaceAll(template, placeholder, t.TenantID)
	}
	if t.Issuer == "" || !slices.ContainsFunc(templates, fits) {
		return ErrIssuer
	}
	// Entra publishes the v2 template for keys that sign both versions.
	v1 := strings.ReplaceAll(IssuerV1, placeholder, t.TenantID)
	if keyTemplate != "" && !fits(keyTemplate) && (t.Issuer != v1 || !admits(keyTemplate, t.TenantID)) {
		return ErrIssuer
	}
	return nil
}

// admits reports whether an issuer template is for every tenant or this one.
func admits(template, tenant string) bool {
	return strings.Contains(template, placeholder) ||
		strings.Contains(strings.ToLower(template), strings.ToLower(tenant))
}

// guid reports whether s has the form of a GUID, so that a tenant id cannot put
// anything else into an issuer template.
func guid(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		hex := c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (c == '-') || !dash && !hex {
			return false
		}
	}
	return true
}

func (o Options) audience(t *claims.Token) error {
	for _, aud := range t.Audience {
		if slices.Contains(o.Audience, aud) {
			return nil
		}
	}
	return ErrAudience
}

func (o Options) times(t *claims.Token) error {
	skew := o.Skew
	if skew == 0 {
		skew = DefaultSkew
	}
	switch {
	case t.Expires.IsZero():
		return fmt.Errorf("%w: exp", ErrMissing)
	case !o.Now.Before(t.Expires.Add(skew)):
		return ErrExpired
	case t.NotBefore.After(o.Now.Add(skew)), t.IssuedAt.After(o.Now.Add(skew)):
		return ErrNotYet
	}
	return nil
}

func (o Options) required(raw string) error {
	if len(o.Required) == 0 {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
	if err != nil {
		return ErrMalformed
	}
	object, err := strictjson.Parse(payload, claims.MaxTokenSize)
	if err != nil {
		return ErrMalformed
	}
	for _, name := range o.Required {
		if !object.Has(name) {
			return fmt.Errorf("%w: %s", ErrMissing, name)
		}
	}
	return nil
}
