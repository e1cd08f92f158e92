package fido_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/webflow"
	"github.com/prtbroker/prtbroker/broker/webflow/fido"
	"github.com/prtbroker/prtbroker/broker/webflow/fido/fidotest"
)

const (
	party  = "login.microsoft.com"
	pin    = "1234"
	canary = "canary-7291"
)

// A user has PINs to enter and notes what was shown.
type user struct {
	pins    []string
	asked   []fido.PINRequest
	given   [][]byte
	touches []string
	onTouch func() error
}

func (u *user) PIN(_ context.Context, r fido.PINRequest) ([]byte, error) {
	u.asked = append(u.asked, r)
	if len(u.pins) == 0 {
		return nil, errors.New("no PIN is left to enter")
	}
	p := []byte(u.pins[0])
	u.pins = u.pins[1:]
	u.given = append(u.given, p)
	return p, nil
}

func (u *user) Touch(_ context.Context, key string) error {
	u.touches = append(u.touches, key)
	if u.onTouch != nil {
		return u.onTouch()
	}
	return nil
}

// credential makes one for the party.
func credential(t *testing.T, id, name string) fidotest.Credential {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return fidotest.Credential{RelyingParty: party, ID: []byte(id), Key: k, UserHandle: []byte("handle of " + name), UserName: name, Discoverable: true}
}

func request(ids ...string) webflow.KeyRequest {
	r := webflow.KeyRequest{RelyingParty: party, ClientDataJSON: []byte(`{"type":"webauthn.get"}`), Username: "kim@contoso.example"}
	for _, id := range ids {
		r.Credentials = append(r.Credentials, []byte(id))
	}
	return r
}

// verify checks a signature as a relying party does.
func verify(t *testing.T, r webflow.KeyRequest, c fidotest.Credential, a *webflow.Assertion) {
	t.Helper()
	require.Equal(t, c.ID, a.ID)
	rp, data := sha256.Sum256([]byte(r.RelyingParty)), sha256.Sum256(r.ClientDataJSON)
	require.Equal(t, rp[:], a.AuthenticatorData[:32])
	require.Equal(t, byte(5), a.AuthenticatorData[32], "present and verified")
	sum := sha256.Sum256(append(slices.Clone(a.AuthenticatorData), data[:]...))
	require.True(t, ecdsa.VerifyASN1(&c.Key.PublicKey, sum[:], a.Signature))
}

// Each row is one key, what its user does, and what comes of it.
func TestAssert(t *testing.T) {
	t.Parallel()
	own := credential(t, "own", "kim@contoso.example")
	other := credential(t, "other", "lee@contoso.example")
	hidden := credential(t, "hidden", "kim@contoso.example")
	hidden.Protected = true
	foreign := credential(t, "foreign", "kim@contoso.example")
	foreign.RelyingParty = "example.com"
	untouched := func(context.Context) error { return fidotest.ErrUntouched }
	declined := func(context.Context) error { return fidotest.ErrDeclined }
	for _, tt := range []struct {
		name    string
		key     fidotest.Options
		holds   []fidotest.Credential
		request webflow.KeyRequest
		pins    []string
		err     error
		is      error // beside err
		asked   int   // PINs
		wrong   error // what the last PINRequest says
		retries int   // afterwards
		signs   *fidotest.Credential
	}{
		{name: "PIN, protocol 2", key: fidotest.Options{PIN: pin, Protocols: []int{2}}, request: request("own"), pins: []string{pin}, asked: 1, retries: 8, signs: &own},
		{name: "PIN, protocol 1", key: fidotest.Options{PIN: pin, Protocols: []int{1}}, request: request("own"), pins: []string{pin}, asked: 1, retries: 8, signs: &own},
		{name: "PIN, CTAP 2.0", key: fidotest.Options{PIN: pin, Protocols: []int{1}, CTAP20: true}, request: request("own"), pins: []string{pin}, asked: 1, retries: 8, signs: &own},
		{name: "a PIN in another form of Unicode", key: fidotest.Options{PIN: "caf\u00e9"}, request: request("own"), pins: []string{"cafe\u0301"}, asked: 1, retries: 8, signs: &own},
		{name: "the longest PIN", key: fidotest.Options{PIN: fmt.Sprintf("%063d", 7)}, request: request("own"), pins: []string{fmt.Sprintf("%063d", 7)}, asked: 1, retries: 8, signs: &own},
		{name: "wrong PIN, and the right one", key: fidotest.Options{PIN: pin}, request: request("own"), pins: []string{"9999", pin}, asked: 2, wrong: fido.ErrWrongPIN, retries: 8, signs: &own},
		{name: "a PIN too short is not sent", key: fidotest.Options{PIN: pin}, request: request("own"), pins: []string{"123", pin}, asked: 2, wrong: fido.ErrPINLength, retries: 8, signs: &own},
		{name: "a PIN too long is not sent", key: fidotest.Options{PIN: pin}, request: request("own"), pins: []string{fmt.Sprintf("%064d", 7), pin}, asked: 2, wrong: fido.ErrPINLength, retries: 8, signs: &own},
		{name: "three wrong PINs", key: fidotest.Options{PIN: pin}, request: request("own"), pins: []string{"9999", "9999", "9999"}, err: fido.ErrReplug, asked: 3, wrong: fido.ErrWrongPIN, retries: 5},
		{name: "no PIN entered", key: fidotest.Options{PIN: pin}, request: request("own"), pins: []string{""}, err: fido.ErrDenied, is: webflow.ErrDenied, asked: 1, retries: 8},
		{name: "no PIN set", request: request("own"), err: fido.ErrNoPIN, is: webflow.ErrNoMethod, retries: 8},
		{name: "the PIN must be changed", key: fidotest.Options{PIN: pin, ForcePINChange: true}, request: request("own"), err: fido.ErrPINChange, is: errors.ErrUnsupported, retries: 8},
		{name: "fingerprint", key: fidotest.Options{BuiltIn: func(context.Context) error { return nil }}, request: request("own"), retries: 8, signs: &own},
		{name: "fingerprint, CTAP 2.0", key: fidotest.Options{CTAP20: true, BuiltIn: func(context.Context) error { return nil }}, request: request("own"), retries: 8, signs: &own},
		{name: "fingerprint that does not match, then the PIN", key: fidotest.Options{PIN: pin, BuiltIn: func(context.Context) error { return fidotest.ErrMismatch }},
			request: request("own"), pins: []string{pin}, asked: 1, retries: 8, signs: &own},
		{name: "fingerprint that does not match, without a PIN", key: fidotest.Options{BuiltIn: func(context.Context) error { return fidotest.ErrMismatch }},
			request: request("own"), err: fido.ErrNotVerified, retries: 8},
		{name: "not touched", key: fidotest.Options{PIN: pin, Touch: untouched}, request: request("own"), pins: []string{pin}, err: fido.ErrTimeout, is: webflow.ErrTimeout, asked: 1, retries: 8},
		{name: "declined on the key", key: fidotest.Options{PIN: pin, Touch: declined}, request: request("own"), pins: []string{pin}, err: fido.ErrDenied, is: webflow.ErrDenied, asked: 1, retries: 8},
		{name: "no credential", key: fidotest.Options{PIN: pin}, request: request("nobody's"), pins: []string{pin}, err: fido.ErrNoCredential, is: webflow.ErrNoMethod, asked: 1, retries: 8},
		{name: "a credential of another party", key: fidotest.Options{PIN: pin}, request: request("foreign"), pins: []string{pin}, err: fido.ErrNoCredential, asked: 1, retries: 8},
		{name: "a credential that is hidden without the PIN", key: fidotest.Options{PIN: pin}, request: request("hidden"), pins: []string{pin}, asked: 1, retries: 8, signs: &hidden},
		{name: "a list longer than the key takes", key: fidotest.Options{PIN: pin, MaxCredentials: 2}, request: request("a", "b", "c", "d", "own"), pins: []string{pin}, asked: 1, retries: 8, signs: &own},
		{name: "a list of 64 credentials", key: fidotest.Options{PIN: pin}, request: request(append(many(63), "own")...), pins: []string{pin}, asked: 1, retries: 8, signs: &own},
		{name: "several accounts, one of the user's name", key: fidotest.Options{PIN: pin}, holds: []fidotest.Credential{own, other}, request: request(), pins: []string{pin}, asked: 1, retries: 8, signs: &own},
		{name: "one account, whatever its name", key: fidotest.Options{PIN: pin}, holds: []fidotest.Credential{other}, request: request(), pins: []string{pin}, asked: 1, retries: 8, signs: &other},
		{name: "several accounts, none of the user's name", key: fidotest.Options{PIN: pin}, holds: []fidotest.Credential{other, other}, request: request(), pins: []string{pin}, err: fido.ErrNoCredential, asked: 1, retries: 8},
		{name: "a key of U2F", key: fidotest.Options{U2F: true}, request: request("own"), err: fido.ErrNoKey, is: webflow.ErrNoMethod, retries: 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k := fidotest.New(tt.key)
			if tt.holds == nil {
				tt.holds = []fidotest.Credential{own, other, hidden, foreign}
			}
			for _, c := range tt.holds {
				k.Add(c)
			}
			u := &user{pins: tt.pins}
			a, err := (&fido.Key{Prompter: u, Devices: fidotest.Devices(k)}).Assert(t.Context(), tt.request)
			require.Len(t, u.asked, tt.asked)
			if tt.asked > 0 {
				require.Equal(t, tt.wrong, u.asked[tt.asked-1].Wrong)
				require.Equal(t, "Virtual security key", u.asked[0].Key)
				require.Equal(t, 8, u.asked[0].TriesLeft)
			}
			for _, p := range u.given {
				require.Equal(t, make([]byte, len(p)), p, "the PIN is overwritten")
			}
			require.Equal(t, tt.retries, k.Retries())
			if tt.signs == nil {
				require.ErrorIs(t, err, tt.err)
				if tt.is != nil {
					require.ErrorIs(t, err, tt.is)
				}
				require.Nil(t, a)
				return
			}
			require.NoError(t, err)
			verify(t, tt.request, *tt.signs, a)
			require.Equal(t, tt.signs.UserHandle, a.UserHandle)
			require.Contains(t, u.touches, "Virtual security key")
		})
	}
}

func many(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("%064d", i))
	}
	return ids
}

// A key that is unplugged and plugged in takes PINs again, and the eighth wrong one
// blocks it for good.
func TestPINBlocks(t *testing.T) {
	t.Parallel()
	k := fidotest.New(fidotest.Options{PIN: pin})
	k.Add(credential(t, "own", "kim@contoso.example"))
	assert := func(pins ...string) (*user, error) {
		u := &user{pins: pins}
		_, err := (&fido.Key{Prompter: u, Devices: fidotest.Devices(k)}).Assert(t.Context(), request("own"))
		return u, err
	}
	_, err := assert("9999", "9999", "9999")
	require.ErrorIs(t, err, fido.ErrReplug)
	_, err = assert(pin)
	require.ErrorIs(t, err, fido.ErrReplug, "the right one too")
	k.Unplug()
	_, err = assert(pin)
	require.ErrorIs(t, err, fido.ErrNoKey)
	k.PlugIn()
	_, err = assert("9999", "9999", "9999")
	require.ErrorIs(t, err, fido.ErrReplug)
	k.Unplug()
	k.PlugIn()
	u, err := assert("9999", "9999", pin)
	require.ErrorIs(t, err, fido.ErrPINBlocked)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.Equal(t, 2, u.asked[0].TriesLeft)
	require.Equal(t, "PIN of the security key Virtual security key (tries left: 2): ", u.asked[0].String())
	require.Equal(t, "The PIN is wrong. PIN of the security key Virtual security key (tries left: 1): ", u.asked[1].String())
	u, err = assert(pin)
	require.ErrorIs(t, err, fido.ErrPINBlocked)
	require.Empty(t, u.asked, "nobody is asked in vain")
}

// A PIN is in no error, whatever the key answers.
func TestPINIsInNoError(t *testing.T) {
	t.Parallel()
	for status := range 256 {
		k := fidotest.New(fidotest.Options{PIN: pin, Edit: func(command byte, answer []byte) []byte {
			if command == 6 && status != 0 && len(answer) > 30 {
				return append([]byte{byte(status)}, canary...)
			}
			return answer
		}})
		u := &user{pins: slices.Repeat([]string{canary}, 8)}
		_, err := (&fido.Key{Prompter: u, Devices: fidotest.Devices(k)}).Assert(t.Context(), request("own"))
		require.ErrorContains(t, err, "fido: ", "status %#x", status)
		require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), canary)
	}
}

// A context that ends tells the key to stop, and Assert returns.
func TestCancel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := fidotest.New(fidotest.Options{PIN: pin, Touch: waitFor})
		k.Add(credential(t, "own", "kim@contoso.example"))
		ctx, cancel := context.WithCancel(t.Context())
		u := &user{pins: []string{pin}, onTouch: func() error { time.AfterFunc(time.Minute, cancel); return nil }}
		begun := time.Now()
		_, err := (&fido.Key{Prompter: u, Devices: fidotest.Devices(k)}).Assert(ctx, request("own"))
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, time.Minute, time.Since(begun))
		require.Len(t, u.touches, 1, "600 keep-alives are one prompt")
		synctest.Wait()
		require.Equal(t, 1, k.Cancelled())
	})
}

// waitFor waits until the program cancels.
func waitFor(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

// An error of a prompt ends the call, and the key is told.
func TestPromptFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := fidotest.New(fidotest.Options{PIN: pin, Touch: waitFor})
		k.Add(credential(t, "own", "kim@contoso.example"))
		broken := errors.New("no terminal")
		u := &user{pins: []string{pin}, onTouch: func() error { return broken }}
		_, err := (&fido.Key{Prompter: u, Devices: fidotest.Devices(k)}).Assert(t.Context(), request("own"))
		require.ErrorIs(t, err, broken)
		synctest.Wait()
		require.Equal(t, 1, k.Cancelled())
	})
}

// A key may be unplugged whenever it likes.
func TestUnplugged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for at := range 6 {
			var k *fidotest.Key
			n := 0
			k = fidotest.New(fidotest.Options{PIN: pin, Edit: func(_ byte, answer []byte) []byte {
				if n++; n > at {
					k.Unplug()
				}
				return answer
			}})
			k.Add(credential(t, "own", "kim@contoso.example"))
			_, err := (&fido.Key{Prompter: &user{pins: []string{pin}}, Devices: fidotest.Devices(k)}).Assert(t.Context(), request("own"))
			if at == 5 {
				require.NoError(t, err, "getInfo, retries, key agreement, token, assertion")
				continue
			}
			require.ErrorIs(t, err, fido.ErrUnplugged, "after %d answers", at)
		}
		k := fidotest.New(fidotest.Options{PIN: pin, Touch: waitFor})
		k.Add(credential(t, "own", "kim@contoso.example"))
		u := &user{pins: []string{pin}, onTouch: func() error { k.Unplug(); return nil }}
		_, err := (&fido.Key{Prompter: u, Devices: fidotest.Devices(k)}).Assert(t.Context(), request("own"))
		require.ErrorIs(t, err, fido.ErrUnplugged)
	})
}

// Answers that are not CTAP2 are an error, and no more.
func TestMalformedAnswers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		command byte
		edit    func([]byte) []byte
		text    string
	}{
		{"nothing", 4, func([]byte) []byte { return nil }, "malformed answer"},
		{"no CBOR", 4, func(a []byte) []byte { return append(a[:1], 0xff, 0xff) }, "malformed answer"},
		{"half", 4, func(a []byte) []byte { return a[:len(a)/2] }, "malformed answer"},
		{"bytes after it", 2, func(a []byte) []byte { return append(a, 0) }, "malformed answer"},
		{"a list", 2, func([]byte) []byte { return []byte{0, 0x80} }, "malformed answer"},
		{"no fields", 2, func([]byte) []byte { return []byte{0, 0xa0} }, "malformed answer"},
		{"a point off the curve", 6, func(a []byte) []byte { a[len(a)-1] ^= 1; return a }, "malformed answer"},
		{"a status that is not known", 2, func([]byte) []byte { return []byte{0xf3} }, "0xf3"},
		{"names twice", 4, func([]byte) []byte { return []byte{0, 0xa2, 4, 0xa0, 4, 0xa0} }, "malformed answer"},
		{"deep", 2, func([]byte) []byte { return append([]byte{0, 0xa1, 1}, slices.Repeat([]byte{0x81}, 5000)...) }, "malformed answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := 0
			k := fidotest.New(fidotest.Options{PIN: pin, Edit: func(command byte, answer []byte) []byte {
				if command == 6 {
					if n++; n != 2 {
						return answer // but for the key agreement
					}
				}
				if command == tt.command {
					return tt.edit(answer)
				}
				return answer
			}})
			k.Add(credential(t, "own", "kim@contoso.example"))
			_, err := (&fido.Key{Prompter: &user{pins: []string{pin}}, Devices: fidotest.Devices(k)}).Assert(t.Context(), request("own"))
			require.ErrorContains(t, err, tt.text)
			require.ErrorContains(t, err, "fido: ")
		})
	}
}

// An answer to another request is not taken: another party, another credential,
// nobody present.
func TestAnswerToAnotherRequest(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func([]byte){
		"party":      func(a []byte) { a[slices.Index(a, 0x58)+2] ^= 1 },
		"credential": func(a []byte) { a[6] ^= 1 },
		"presence":   func(a []byte) { a[slices.Index(a, 0x58)+2+32] &^= 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := fidotest.New(fidotest.Options{PIN: pin, Edit: func(command byte, answer []byte) []byte {
				if command == 2 {
					edit(answer)
				}
				return answer
			}})
			k.Add(credential(t, "own", "kim@contoso.example"))
			_, err := (&fido.Key{Prompter: &user{pins: []string{pin}}, Devices: fidotest.Devices(k)}).Assert(t.Context(), request("own"))
			require.ErrorContains(t, err, "malformed")
		})
	}
}

// Of several keys the one that holds the user's credential signs, without a touch
// too many; where none tells, or several do, the user touches one.
func TestSeveralKeys(t *testing.T) {
	t.Parallel()
	own := credential(t, "own", "kim@contoso.example")
	other := credential(t, "other", "lee@contoso.example")
	hidden := own
	hidden.Protected = true
	for _, old := range []bool{false, true} {
		name := map[bool]string{false: "CTAP 2.1", true: "CTAP 2.0"}[old]
		t.Run(name+", one holds the credential", func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := fidotest.New(fidotest.Options{Name: "A", PIN: "0000", CTAP20: old, Touch: waitFor})
				b := fidotest.New(fidotest.Options{Name: "B", PIN: pin, CTAP20: old})
				a.Add(other)
				b.Add(own)
				u := &user{pins: []string{pin}}
				got, err := (&fido.Key{Prompter: u, Devices: fidotest.Devices(a, b)}).Assert(t.Context(), request("own"))
				require.NoError(t, err)
				verify(t, request("own"), own, got)
				require.Equal(t, []string{"B"}, u.touches)
			})
		})
		t.Run(name+", the touched one", func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := fidotest.New(fidotest.Options{Name: "A", PIN: "0000", CTAP20: old, Touch: waitFor})
				b := fidotest.New(fidotest.Options{Name: "B", PIN: pin, CTAP20: old, Touch: func(context.Context) error { time.Sleep(2 * time.Second); return nil }})
				a.Add(hidden)
				b.Add(hidden)
				u := &user{pins: []string{pin}}
				got, err := (&fido.Key{Prompter: u, Devices: fidotest.Devices(a, b)}).Assert(t.Context(), request("own"))
				require.NoError(t, err)
				verify(t, request("own"), own, got)
				require.Equal(t, []string{"", "B"}, u.touches)
				require.Equal(t, "B", u.asked[0].Key)
				synctest.Wait()
				require.Equal(t, 1, a.Cancelled())
			})
		})
		t.Run(name+", one goes away", func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := fidotest.New(fidotest.Options{Name: "A", PIN: pin, CTAP20: old, Touch: waitFor})
				b := fidotest.New(fidotest.Options{Name: "B", PIN: pin, CTAP20: old, Touch: func(context.Context) error { time.Sleep(2 * time.Second); return nil }})
				b.Add(own)
				u := &user{pins: []string{pin}, onTouch: func() error { a.Unplug(); return nil }}
				got, err := (&fido.Key{Prompter: u, Devices: fidotest.Devices(a, b)}).Assert(t.Context(), request())
				require.NoError(t, err)
				verify(t, request(), own, got)
			})
		})
		t.Run(name+", nobody touches", func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				untouched := func(context.Context) error { return fidotest.ErrUntouched }
				a := fidotest.New(fidotest.Options{Name: "A", PIN: pin, CTAP20: old, Touch: untouched})
				b := fidotest.New(fidotest.Options{Name: "B", PIN: pin, CTAP20: old, Touch: untouched})
				_, err := (&fido.Key{Prompter: &user{}, Devices: fidotest.Devices(a, b)}).Assert(t.Context(), request())
				require.ErrorIs(t, err, fido.ErrTimeout)
			})
		})
	}
}

// A list of devices that fails, and no device.
func TestNoDevice(t *testing.T) {
	t.Parallel()
	broken := errors.New("no bus")
	_, err := (&fido.Key{Prompter: &user{}, Devices: func(context.Context) ([]fido.Device, error) { return nil, broken }}).Assert(t.Context(), request())
	require.ErrorIs(t, err, broken)
	_, err = (&fido.Key{Prompter: &user{}, Devices: fidotest.Devices()}).Assert(t.Context(), request())
	require.ErrorIs(t, err, fido.ErrNoKey)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = (&fido.Key{Devices: fidotest.Devices()}).Assert(t.Context(), request())
	require.EqualError(t, err, "fido: Key.Prompter is required")
}
