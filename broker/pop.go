package broker

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

// A PoP is the HTTP request that a bound token is for. The result's AccessToken
// is then a signed HTTP request (SHR, draft-ietf-oauth-signed-http-request-03)
// that contains the token, for the header "Authorization: PoP …": the API can
// tell that the sender holds the key, which never leaves the key store. Each
// signed request costs one signature of the key store; the token inside is
// cached like others.
type PoP struct {
	// Method is the method of the request. Empty: not bound.
	Method string
	// URL is the address of the request, absolute. Empty: not bound.
	URL string
	// Nonce is what the API asked for in its challenge. Empty: none.
	Nonce string
	// Claims are further claims of the client, JSON. Nil: none.
	Claims json.RawMessage
	// KeyID binds the token to a key of the caller's own instead: its
	// thumbprint (RFC 7638), base64url. The result's AccessToken then is the
	// bare token, which the caller puts into a request that its key signs, and
	// the fields above must be empty. Empty: the key of this device.
	KeyID string
}

// keyFor returns the key that a token is to be bound to.
func (b *Broker) keyFor(ctx context.Context, p PoP) (*proofKey, error) {
	if p.KeyID == "" {
		return b.proofKey(ctx)
	}
	return foreignKey(p)
}

// keyIDPattern is what a thumbprint looks like: a SHA-256, base64url. The
// length is left open, for other hashes.
var keyIDPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{20,128}$`)

// foreignKey is a key of the caller's own, of which only the thumbprint is
// known here.
func foreignKey(p PoP) (*proofKey, error) {
	if !keyIDPattern.MatchString(p.KeyID) {
		return nil, &Error{kind: ErrAppConfig, detail: "PoP.KeyID is not a thumbprint in base64url"}
	}
	if p.Method != "" || p.URL != "" || p.Nonce != "" || p.Claims != nil {
		return nil, &Error{kind: ErrAppConfig, detail: "PoP.KeyID excludes Method, URL, Nonce and Claims: the caller signs the request with its own key"}
	}
	return &proofKey{
		thumbprint:   p.KeyID,
		confirmation: base64.RawURLEncoding.EncodeToString([]byte(`{"kid":"` + p.KeyID + `"}`)),
	}, nil
}

// popType is the token_type of bound tokens and the scheme of the
// Authorization header that carries them.
const popType = "PoP"

// proofKey is the key that bound tokens are bound to: one for each user of the
// machine, in the key store, made when it is first asked for.
type proofKey struct {
	signer       tpm.Signer // nil: the key is the caller's, and nothing is signed here
	thumbprint   string
	confirmation string // req_cnf
}

type popRecord struct {
	Version int    `json:"v"`
	Key     []byte `json:"key"` // blob
}

func (c *Config) popOwner() string { return "pop-" + vault.HashedID("user", c.UserID) }

// proofKey returns the key, from memory, the store or new. Making one in a hardware TPM
// takes up to 15 seconds.
func (b *Broker) proofKey(ctx context.Context) (*proofKey, error) {
	if k := b.pop.Load(); k != nil {
		return k, nil
	}
	return do(ctx, &b.flights, "pop key", func(ctx context.Context) (*proofKey, error) {
		if k := b.pop.Load(); k != nil {
			return k, nil
		}
		owner := b.cfg.popOwner()
		release, err := vault.Lease(ctx, b.cfg.Store, owner, vault.LongWait)
		if err != nil {
			return nil, err
		}
		defer release()
		v := vault.New(b.ring, b.cfg.Store, b.cfg.Rand, owner)
		defer v.Close()
		k, err := b.cfg.openPoPKey(ctx, v)
		if errors.Is(err, store.ErrNotFound) {
			k, err = b.cfg.makePoPKey(ctx, v)
		}
		if err != nil {
			return nil, err
		}
		b.pop.Store(k)
		return k, nil
	})
}

func (c *Config) openPoPKey(ctx context.Context, v *vault.Vault) (*proofKey, error) {
	if err := v.Open(ctx); err != nil {
		return nil, err
	}
	r, err := v.Read(ctx, vault.StateSuffix)
	if err != nil {
		return nil, err
	}
	var rec popRecord
	if err := vault.Decode(v.Owner(), r.Plain, &rec); err != nil {
		return nil, err
	}
	k, err := c.Keys.OpenKey(ctx, rec.Key)
	if err != nil {
		return nil, keyError("opening the key for bound tokens", err)
	}
	return newPoPKey(k)
}

func (c *Config) makePoPKey(ctx context.Context, v *vault.Vault) (*proofKey, error) {
	if err := v.Create(ctx); err != nil {
		return nil, err
	}
	made, err := c.Keys.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Sign})
	if err != nil {
		return nil, keyError("making a key for bound tokens", err)
	}
	k, err := newPoPKey(made)
	if err != nil {
		return nil, err
	}
	plain, err := vault.Encode(popRecord{Version: vault.StateVersion, Key: made.Blob()})
	if err == nil {
		_, err = v.Write(ctx, vault.StateSuffix, plain, vault.Record{})
	}
	if err != nil {
		_ = made.Close()
		return nil, err
	}
	return k, nil
}

func newPoPKey(k tpm.Key) (*proofKey, error) {
	signer, ok := k.(tpm.Signer)
	if !ok {
		_ = k.Close()
		return nil, fmt.Errorf("%w: the key for bound tokens cannot sign", ErrStateDamaged)
	}
	out := &proofKey{signer: signer}
	var err error
	if out.thumbprint, err = prt.KeyThumbprint(k.Public()); err == nil {
		out.confirmation, err = prt.KeyConfirmation(k.Public())
	}
	if err != nil {
		_ = k.Close()
		return nil, err
	}
	return out, nil
}

// confirmation is the req_cnf of the key that the token is to be bound to; empty: a
// bearer token.
func (q *tokenRequest) confirmation() string {
	if q.pop == nil {
		return ""
	}
	return q.pop.confirmation
}

// checkBound refuses a bearer token in place of one that is bound to a key, as a
// service would give that does not know such tokens.
func (q *tokenRequest) checkBound(op string, r *prt.Reply) error {
	if q.pop != nil && !strings.EqualFold(r.TokenType, popType) {
		return &Error{Op: op, detail: "the service gave a token that is not bound to the key"}
	}
	return nil
}

// present puts a bound token into a request that the key signs; a bearer token,
// and one for a key of the caller's own, stay as they are.
func (q *tokenRequest) present(ctx context.Context, now func() time.Time, res AuthResult) (AuthResult, error) {
	if q.pop == nil || q.pop.signer == nil {
		return res, nil
	}
	signed, err := signRequest(ctx, now(), q.pop.signer, res.AccessToken, *q.callOptions.pop)
	if err != nil {
		return AuthResult{}, err
	}
	res.AccessToken = signed
	return res, nil
}

func signRequest(ctx context.Context, now time.Time, key tpm.Signer, accessToken string, p PoP) (string, error) {
	s, err := prt.SignedRequest{
		AccessToken: prt.NewSecret(accessToken),
		Method:      p.Method,
		URL:         p.URL,
		Nonce:       p.Nonce,
		Claims:      p.Claims,
		Now:         now,
	}.Sign(ctx, key)
	if err != nil {
		return "", err
	}
	return s.Reveal(), nil
}

// SignedHTTPRequest signs a request to an API with the key that tokens of
// [WithPoP] are bound to, around an access token that is bound to it, or
// without one when accessToken is empty. The result goes into the header
// "Authorization: PoP …". It costs one signature of the key store. WithPoP does
// both at once; this is for callers that hold the token already, such as a
// broker service for other programs.
func (b *Broker) SignedHTTPRequest(ctx context.Context, accessToken string, p PoP) (_ string, err error) {
	const op = "sign HTTP request"
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave(&err)
	if p.KeyID != "" {
		return "", &Error{Op: op, detail: "PoP.KeyID names a key of the caller, which the broker cannot sign with"}
	}
	k, err := b.proofKey(ctx)
	if err != nil {
		return "", opError(op, err)
	}
	s, err := signRequest(ctx, b.sts.Now(), k.signer, accessToken, p)
	return s, opError(op, err)
}

// PoPKeyID returns the thumbprint (RFC 7638) of the key that tokens of WithPoP
// are bound to: the kid of their cnf claim.
func (b *Broker) PoPKeyID(ctx context.Context) (_ string, err error) {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave(&err)
	k, err := b.proofKey(ctx)
	if err != nil {
		return "", opError("PoP key", err)
	}
	return k.thumbprint, nil
}
