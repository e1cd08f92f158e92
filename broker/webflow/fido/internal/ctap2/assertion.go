package ctap2

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"slices"
)

// A Request is what a key is to sign (CTAP 2.1, 6.2).
type Request struct {
	RelyingParty   string
	ClientDataHash [sha256.Size]byte
	Credentials    [][]byte // that may sign; empty: any discoverable one
	Token          *Token   // nil: the user is not verified by one
	BuiltIn        bool     // the key verifies its user by itself, without a token
}

// An Assertion is what a key signed.
type Assertion struct {
	ID                []byte
	AuthenticatorData []byte
	Signature         []byte
	UserHandle        []byte // empty: the key gave none
	UserName          string // only where several may sign and the user was verified
}

type descriptor struct {
	ID   []byte `cbor:"id"`
	Type string `cbor:"type"`
}

type assertionRequest struct {
	RelyingParty   string          `cbor:"1,keyasint"`
	ClientDataHash []byte          `cbor:"2,keyasint"`
	AllowList      []descriptor    `cbor:"3,keyasint,omitempty"`
	Options        map[string]bool `cbor:"5,keyasint,omitempty"`
	Auth           *[]byte         `cbor:"6,keyasint,omitempty"`
	Protocol       int             `cbor:"7,keyasint,omitempty"`
}

type assertionReply struct {
	Credential        *descriptor `cbor:"1,keyasint"`
	AuthenticatorData []byte      `cbor:"2,keyasint"`
	Signature         []byte      `cbor:"3,keyasint"`
	User              *struct {
		ID   []byte `cbor:"id"`
		Name string `cbor:"name"`
	} `cbor:"4,keyasint"`
	Count int `cbor:"5,keyasint"`
}

// The flags of authenticator data, and its minimum size (WebAuthn Level 2, 6.1).
const (
	flagsAt          = sha256.Size
	flagPresent      = 1 << 0
	authenticatorMin = sha256.Size + 1 + 4

	maxAccounts = 64 // that one key is asked for
)

const publicKey = "public-key"

func (r *Request) wire(ids [][]byte) assertionRequest {
	q := assertionRequest{RelyingParty: r.RelyingParty, ClientDataHash: r.ClientDataHash[:]}
	for _, id := range ids {
		q.AllowList = append(q.AllowList, descriptor{id, publicKey})
	}
	if r.Token != nil {
		auth := r.Token.protocol.authenticate(r.Token.secret, r.ClientDataHash[:])
		q.Auth, q.Protocol = &auth, int(r.Token.protocol)
	}
	if r.BuiltIn {
		q.Options = map[string]bool{"uv": true}
	}
	return q
}

// Assert has the key sign, after a touch. It returns one assertion for each account
// that the key holds for the relying party, or a single one if r names credentials.
func Assert(ctx context.Context, t Transport, i *Info, r *Request, touch func() error) ([]Assertion, error) {
	ids := r.Credentials
	if len(ids) > 0 {
		lists, err := split(i, r)
		if err != nil {
			return nil, err
		}
		ids = lists[0]
		if len(lists) > 1 {
			if ids, err = find(ctx, t, r, lists); err != nil {
				return nil, err
			}
		}
	}
	var out assertionReply
	if err := send(ctx, t, commandGetAssertion, r.wire(ids), &out, touch); err != nil {
		return nil, err
	}
	first, err := out.check(r, ids, true)
	if err != nil {
		return nil, err
	}
	all := []Assertion{*first}
	for range min(out.Count, maxAccounts) - 1 {
		var next assertionReply
		if err := send(ctx, t, commandGetNextAssertion, nil, &next, nil); err != nil {
			return nil, err
		}
		a, err := next.check(r, ids, true)
		if err != nil {
			return nil, err
		}
		all = append(all, *a)
	}
	return all, nil
}

// Holds reports, without a touch, whether the key holds one of the credentials that
// r names. Without a token it does not find a credential that is hidden until its
// user is verified.
func Holds(ctx context.Context, t Transport, i *Info, r *Request) (bool, error) {
	lists, err := split(i, r)
	if err != nil {
		return false, err
	}
	_, err = find(ctx, t, r, lists)
	if errors.Is(err, StatusNoCredentials) || errors.Is(err, StatusInvalidCredential) {
		return false, nil
	}
	return err == nil, err
}

// find returns the credential that the key holds, as a list of one.
func find(ctx context.Context, t Transport, r *Request, lists [][][]byte) ([][]byte, error) {
	last := error(StatusNoCredentials)
	for _, ids := range lists {
		q := r.wire(ids)
		q.Options = map[string]bool{"up": false}
		var out assertionReply
		err := send(ctx, t, commandGetAssertion, q, &out, nil)
		if err == nil {
			a, err := out.check(r, ids, false)
			if err != nil {
				return nil, err
			}
			return [][]byte{a.ID}, nil
		}
		if last = err; !errors.Is(err, StatusNoCredentials) && !errors.Is(err, StatusInvalidCredential) {
			return nil, err
		}
	}
	return nil, last
}

// split divides the credentials into lists that the key accepts.
func split(i *Info, r *Request) (lists [][][]byte, err error) {
	var list [][]byte
	for _, id := range r.Credentials {
		if i.MaxCredentialBytes > 0 && len(id) > i.MaxCredentialBytes {
			continue // of another key
		}
		next := append(slices.Clip(list), id)
		b, err := encoding.Marshal(r.wire(next))
		if err != nil {
			return nil, err
		}
		if len(list) > 0 && (i.MaxCredentials > 0 && len(next) > i.MaxCredentials || 1+len(b) > i.MaxMessage) {
			lists, next = append(lists, list), [][]byte{id}
		}
		list = next
	}
	if len(list) == 0 {
		return nil, StatusNoCredentials
	}
	return append(lists, list), nil
}

// check verifies that an answer matches the request.
func (out *assertionReply) check(r *Request, ids [][]byte, touched bool) (*Assertion, error) {
	a := &Assertion{AuthenticatorData: out.AuthenticatorData, Signature: out.Signature}
	rp := sha256.Sum256([]byte(r.RelyingParty))
	switch {
	case len(a.AuthenticatorData) < authenticatorMin, len(a.Signature) == 0, !bytes.HasPrefix(a.AuthenticatorData, rp[:]),
		touched && a.AuthenticatorData[flagsAt]&flagPresent == 0:
		return nil, ErrMalformed
	case out.Credential != nil:
		a.ID = out.Credential.ID
	case len(ids) == 1: // CTAP 2.0 lets it be left out
		a.ID = ids[0]
	}
	if len(a.ID) == 0 || len(ids) > 0 && !slices.ContainsFunc(ids, func(id []byte) bool { return bytes.Equal(id, a.ID) }) {
		return nil, ErrMalformed
	}
	if out.User != nil {
		a.UserHandle, a.UserName = out.User.ID, out.User.Name
	}
	return a, nil
}

// Select waits until the key is touched, so that the user shows which of several
// keys to use (CTAP 2.1, 6.9; before 2.1: 6.2.2 with an empty pinUvAuthParam).
func Select(ctx context.Context, t Transport, i *Info, r *Request, touch func() error) error {
	if i.since21() {
		return send(ctx, t, commandSelection, nil, nil, touch)
	}
	p, err := protocolOf(i)
	if err != nil {
		return err
	}
	q := r.wire(nil)
	q.Auth, q.Protocol = new([]byte), int(p)
	*q.Auth = []byte{}
	err = send(ctx, t, commandGetAssertion, q, nil, touch)
	if errors.Is(err, StatusPINInvalid) || errors.Is(err, StatusPINNotSet) || errors.Is(err, StatusPINAuthInvalid) {
		return nil
	}
	return err
}
