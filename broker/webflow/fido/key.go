package fido

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/prtbroker/prtbroker/broker/webflow"
	"github.com/prtbroker/prtbroker/broker/webflow/fido/internal/ctap2"
)

var _ webflow.Authenticator = (*Key)(nil)

// A Key signs with a security key that is plugged in. It keeps nothing between two
// calls, and each call opens the key anew. It is safe for concurrent use if its
// Prompter is.
type Key struct {
	// Prompter talks to the user. It is required.
	Prompter Prompter
	// Devices returns what is plugged in. Nil: [USB].
	Devices func(context.Context) ([]Device, error)
}

// Assert implements [webflow.Authenticator]. It returns when the context ends, and
// then tells the key to stop waiting for a touch.
func (k *Key) Assert(ctx context.Context, r webflow.KeyRequest) (*webflow.Assertion, error) {
	if k.Prompter == nil {
		return nil, errors.New("fido: Key.Prompter is required")
	}
	q := &ctap2.Request{RelyingParty: r.RelyingParty, ClientDataHash: sha256.Sum256(r.ClientDataJSON), Credentials: r.Credentials}
	plugged, err := k.open(ctx)
	if err != nil {
		return nil, err
	}
	defer closeAll(plugged)
	a, err := k.choose(ctx, plugged, q)
	if err != nil {
		return nil, said(ctx, err)
	}
	all, err := k.sign(ctx, a, q)
	if err != nil {
		return nil, said(ctx, err)
	}
	return pick(all, r.Username)
}

// sign verifies the user and has the key sign.
func (k *Key) sign(ctx context.Context, a *authenticator, q *ctap2.Request) ([]ctap2.Assertion, error) {
	if err := k.verify(ctx, a, q); err != nil {
		return nil, err
	}
	defer q.Token.Clear()
	return ctap2.Assert(ctx, a, a.info, q, k.touch(ctx, a.name))
}

func (k *Key) touch(ctx context.Context, name string) func() error {
	return func() error { return k.Prompter.Touch(ctx, name) }
}

// Limits of a verification: on the key itself, and of PINs that are asked for,
// since some are not sent because they cannot be PINs.
const (
	builtInTries = 3
	pinTries     = 8
)

// verify verifies the user, by the key itself if it can.
func (k *Key) verify(ctx context.Context, a *authenticator, q *ctap2.Request) (err error) {
	if a.info.Has("uv") {
		if !a.info.Has("pinUvAuthToken") {
			q.BuiltIn = true // CTAP 2.0
			return nil
		}
		for range builtInTries {
			q.Token, err = ctap2.TokenByBuiltIn(ctx, a, a.info, q.RelyingParty, k.touch(ctx, a.name))
			if !errors.Is(err, ctap2.StatusUVInvalid) {
				break
			}
		}
		if !errors.Is(err, ctap2.StatusUVInvalid) && !errors.Is(err, ctap2.StatusUVBlocked) || !a.info.Has("clientPin") {
			return err
		}
	}
	if !a.info.Has("clientPin") || a.info.Has("noMcGaPermissionsWithClientPin") {
		return ErrNoPIN
	}
	if a.info.ForcePINChange {
		return ErrPINChange
	}
	q.Token, err = k.byPIN(ctx, a, q.RelyingParty)
	return err
}

// byPIN asks for the PIN until it is right or the key accepts no more.
func (k *Key) byPIN(ctx context.Context, a *authenticator, relyingParty string) (*ctap2.Token, error) {
	var wrong error
	for range pinTries {
		left, err := ctap2.Retries(ctx, a, a.info)
		if err != nil {
			return nil, err
		}
		if left == 0 {
			return nil, ErrPINBlocked
		}
		pin, err := k.Prompter.PIN(ctx, PINRequest{Key: a.name, TriesLeft: left, Wrong: wrong})
		if err != nil {
			return nil, err
		}
		token, err := tokenByPIN(ctx, a, pin, relyingParty)
		clear(pin)
		switch {
		case errors.Is(err, ErrPINLength):
			wrong = ErrPINLength
		case errors.Is(err, ctap2.StatusPINInvalid):
			wrong = ErrWrongPIN
		default:
			return token, err
		}
	}
	return nil, wrong
}

// The length of a PIN (CTAP 2.1, 6.5.1).
const (
	shortestPIN = 4  // characters
	longestPIN  = 63 // bytes
)

// tokenByPIN sends one PIN, in the form that the key expects (NFC).
func tokenByPIN(ctx context.Context, a *authenticator, pin []byte, relyingParty string) (*ctap2.Token, error) {
	if len(pin) == 0 {
		return nil, ErrDenied
	}
	if !norm.NFC.IsNormal(pin) {
		pin = norm.NFC.Bytes(pin)
		defer clear(pin)
	}
	if utf8.RuneCount(pin) < shortestPIN || len(pin) > longestPIN || !utf8.Valid(pin) {
		return nil, ErrPINLength
	}
	return ctap2.TokenByPIN(ctx, a, a.info, pin, relyingParty)
}

// pick returns the user's assertion if the key holds several accounts.
func pick(all []ctap2.Assertion, username string) (*webflow.Assertion, error) {
	chosen := 0
	if len(all) > 1 {
		chosen = -1
		for i, a := range all {
			if strings.EqualFold(a.UserName, username) && username != "" {
				chosen = i
				break
			}
		}
		if chosen < 0 {
			return nil, fmt.Errorf("%w: none of its %d accounts has the user's name", ErrNoCredential, len(all))
		}
	}
	a := all[chosen]
	return &webflow.Assertion{ID: a.ID, AuthenticatorData: a.AuthenticatorData, Signature: a.Signature, UserHandle: a.UserHandle}, nil
}
