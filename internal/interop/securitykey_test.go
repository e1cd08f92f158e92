package interop

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/webflow"
	"github.com/prtbroker/prtbroker/broker/webflow/fido"
	"github.com/prtbroker/prtbroker/broker/webflow/fido/fidotest"
)

const (
	keyPIN      = "1234"
	firmware    = "Nitrokey firmware"
	pythonFIDO2 = "python-fido2"
)

// yubico runs python-fido2 as the program at a device, and reads its outcome.
func yubico(t *testing.T, d fido.Device, out any, args ...string) {
	t.Helper()
	script, err := filepath.Abs(filepath.Join("testdata", "security_key.py"))
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), python(t), append([]string{script}, args...)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	toKey, err := cmd.StdoutPipe()
	require.NoError(t, err)
	fromKey, err := cmd.StdinPipe()
	require.NoError(t, err)
	device, err := d.Open(t.Context())
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var pumps sync.WaitGroup
	pumps.Go(func() { reports(device, toKey); _ = device.Close() })
	pumps.Go(func() { reports(fromKey, device); _ = fromKey.Close() })
	pumps.Wait()
	require.NoError(t, cmd.Wait(), said.String())
	require.NoError(t, json.Unmarshal(said.Bytes(), out), said.String())
}

// reports copies whole reports.
func reports(to io.Writer, from io.Reader) {
	var r [64]byte
	for {
		if _, err := io.ReadFull(from, r[:]); err != nil {
			return
		}
		if _, err := to.Write(r[:]); err != nil {
			return
		}
	}
}

// hands enter one PIN, always.
type hands string

func (h hands) Secret(context.Context, string) ([]byte, error) { return []byte(h), nil }
func (hands) Show(context.Context, string) error               { return nil }

// Yubico's own client takes our virtual key for a key: its reports, its PIN by both
// protocols, and its assertions.
func TestVirtualSecurityKey(t *testing.T) {
	t.Parallel()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	point, err := own.PublicKey.Bytes()
	require.NoError(t, err)
	x, y := point[1:33], point[33:]
	for _, old := range []bool{false, true} {
		for _, protocol := range []int{1, 2} {
			name := fmt.Sprintf("our virtual key, PIN protocol %d%s", protocol, map[bool]string{true: ", CTAP 2.0"}[old])
			flow(t, pythonFIDO2, name, func(t *testing.T) string {
				k := fidotest.New(fidotest.Options{PIN: keyPIN, CTAP20: old, Protocols: []int{protocol}})
				k.Add(fidotest.Credential{RelyingParty: fidoRP, ID: []byte("the key of kim"), Key: own})
				var out struct {
					Versions              []string
					Wrong, Spent, Touches int
					Verified              bool
				}
				yubico(t, k.Device(), &out, "assert", keyPIN, fidoRP, strconv.Itoa(protocol), hex.EncodeToString([]byte("the key of kim")), hex.EncodeToString(x), hex.EncodeToString(y))
				require.Equal(t, 0x31, out.Wrong)
				require.Equal(t, 1, out.Spent)
				require.True(t, out.Verified)
				require.Equal(t, 1, out.Touches)
				return "signs; a wrong PIN costs a try"
			})
		}
	}
}

// A process is the firmware's FIDO application. One message is answered at a time.
type process struct {
	in  io.WriteCloser
	out io.Reader
	mu  sync.Mutex // guards both
}

func startFirmware(t *testing.T) *process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(cacheDir, "cargo", "debug", "security-key"))
	cmd.Dir = t.TempDir()
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	return &process{in: in, out: out}
}

func (p *process) answer(_ context.Context, message []byte) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.in.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...)); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(p.out, size[:]); err != nil {
		return nil, err
	}
	reply := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(p.out, reply)
	return reply, err
}

// Our client signs in with the FIDO application that runs on the Nitrokey 3 and the
// Solo 2, on which Yubico's client made the credential.
func TestSecurityKeyFirmware(t *testing.T) {
	t.Parallel()
	heavy(t, firmware)
	d := fidotest.Relay("Nitrokey", startFirmware(t).answer)
	var made struct {
		ID, X, Y string
		Protocol int
	}
	yubico(t, d, &made, "register", keyPIN, fidoRP)
	id, err := hex.DecodeString(made.ID)
	require.NoError(t, err)
	point, err := hex.DecodeString("04" + made.X + made.Y)
	require.NoError(t, err)
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	require.NoError(t, err)
	key := &fido.Key{Prompter: fido.Text(hands(keyPIN)), Devices: func(context.Context) ([]fido.Device, error) { return []fido.Device{d}, nil }}

	for name, ids := range map[string][][]byte{"by its id": {[]byte("another"), id}, "that it finds": nil} {
		flow(t, firmware, "assertion of a credential "+name, func(t *testing.T) string {
			q := webflow.KeyRequest{RelyingParty: fidoRP, ClientDataJSON: []byte(`{"type":"webauthn.get"}`), Credentials: ids}
			a, err := key.Assert(t.Context(), q)
			require.NoError(t, err)
			require.Equal(t, id, a.ID)
			require.Equal(t, byte(5), a.AuthenticatorData[32]&5, "present and verified")
			data := sha256.Sum256(q.ClientDataJSON)
			sum := sha256.Sum256(append(a.AuthenticatorData[:len(a.AuthenticatorData):len(a.AuthenticatorData)], data[:]...))
			require.True(t, ecdsa.VerifyASN1(public, sum[:], a.Signature))
			return fmt.Sprintf("signed, PIN protocol %d", made.Protocol)
		})
	}
	flow(t, firmware, "a credential of another key", func(t *testing.T) string {
		_, err := key.Assert(t.Context(), webflow.KeyRequest{RelyingParty: fidoRP, ClientDataJSON: []byte("{}"), Credentials: [][]byte{[]byte("another")}})
		require.ErrorIs(t, err, fido.ErrNoCredential)
		return "refused"
	})
	flow(t, firmware, "sign-in pages, in place of a password", func(t *testing.T) string {
		srv := entratest.NewTB(t, entratest.Options{Seed: 1, Users: []entratest.User{{Username: "kim", Password: keyPwd,
			Passkeys: []entratest.Passkey{{ID: id, Public: public, UserHandle: []byte("handle of kim")}}}}})
		f, c, err := webflow.Begin(t.Context(), webflow.Options{Tenant: "contoso.example", Username: "kim@contoso.example", MFA: true, Transport: srv.Transport()})
		require.NoError(t, err)
		defer f.Close()
		if c.Kind != webflow.SecurityKey {
			c, err = f.Continue(t.Context(), webflow.Answer{Choice: webflow.MethodKey})
			require.NoError(t, err)
		}
		a, err := key.Assert(t.Context(), *c.Fido)
		require.NoError(t, err)
		c, err = f.Continue(t.Context(), webflow.Answer{Assertion: a})
		require.NoError(t, err)
		require.Equal(t, webflow.Done, c.Kind)
		return "signed in without a browser"
	})
	flow(t, firmware, "three wrong PINs, and the right one", func(t *testing.T) string {
		q := webflow.KeyRequest{RelyingParty: fidoRP, ClientDataJSON: []byte("{}"), Credentials: [][]byte{id}}
		wrong := &fido.Key{Prompter: fido.Text(hands("9999")), Devices: key.Devices}
		_, err := wrong.Assert(t.Context(), q)
		require.ErrorIs(t, err, fido.ErrReplug)
		_, err = key.Assert(t.Context(), q)
		require.ErrorIs(t, err, fido.ErrReplug)
		return "refused until it is plugged in again"
	})
}
