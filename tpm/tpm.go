package tpm

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/prtbroker/prtbroker/internal/secret"
)

// An Opener opens connections to one TPM.
type Opener struct {
	// Open connects. It is called again after a reset or a lost connection.
	Open func(context.Context) (transport.TPMCloser, error)
	// Spaces is how many connections may be open at once, each with slots of
	// its own: 2 behind a resource manager such as /dev/tpmrm0, else 1. Zero
	// means 1.
	Spaces int
	// Exclusive says that a connection has the TPM to itself, with no resource
	// manager in between: when the slots are full, whatever is loaded was left
	// behind by a dead process and may be flushed.
	Exclusive bool
}

// A Config changes how a TPM is used. The zero value is right for most.
type Config struct {
	// SRKName, if not nil, is the name of the storage root key, from an earlier
	// [TPM.SRKName]: Open refuses any other TPM. If it is nil, the TPM that
	// answers first is trusted; blobs carry the name too, so another TPM is
	// refused when the first of them is opened.
	SRKName []byte
	// KeyAuth, if not nil, is a secret of the app that every use of its keys
	// needs. Without it, root or the group tss can use the keys, though never
	// copy them, if they also have the files.
	KeyAuth []byte
	// OwnerAuth returns the auth value of the owner hierarchy. Nil means that
	// it is empty, as on nearly every machine. It is called only if the TPM has
	// no persistent SRK.
	OwnerAuth func(context.Context) ([]byte, error)
	// Idle is how long the session key and the session stay loaded without
	// use. Zero means 60 s, a negative value forever.
	Idle time.Duration
}

const (
	defaultIdle = time.Minute
	closeGrace  = 20 * time.Second // a TPM may take 15 s for an RSA key
)

// TPM is a key store over a TPM 2.0. See the package documentation for what
// it protects from.
type TPM struct {
	cfg      Config       // without KeyAuth
	appAuth  secret.Value // zero: none
	sessions *space       // holds a session key
	keys     *space       // everything else; the same where the opener has one space
	done     chan struct{}
	closing  sync.Once
	closeErr error

	noHMAC    atomic.Bool // the TPM lacks TPM2_HMAC
	noGetTime atomic.Bool // the TPM lacks TPM2_GetTime, or refuses it

	mu      sync.Mutex                     // guards what follows; never held over a command
	parent  *storageKey                    // of what is made from now on
	storage map[tpm2.TPMHandle]*storageKey // pinned
	info    *Info
	akName  []byte // nil: not asked for; empty: the TPM gives none
	seats   seats
}

// Open connects to a TPM and finds its storage root key: a persistent one at
// 0x81000001, else a transient P-256 primary, which costs nothing on the TPM's
// side. It sends one command or two. If a persistent key turns out to need an
// auth value at its first use, the primary is used instead.
func Open(ctx context.Context, o Opener, cfg Config) (*TPM, error) {
	if o.Open == nil {
		return nil, errors.New("tpm: Opener.Open is nil")
	}
	if cfg.Idle == 0 {
		cfg.Idle = defaultIdle
	}
	t := &TPM{cfg: cfg, done: make(chan struct{}), storage: map[tpm2.TPMHandle]*storageKey{}}
	t.cfg.KeyAuth, t.appAuth = nil, secret.New(bytes.Clone(cfg.KeyAuth))
	t.keys = newSpace(o, cfg.Idle, t.done)
	t.sessions, t.keys.holds, t.keys.spares = t.keys, bareHolds, bareSpares
	if o.Spaces > 1 {
		t.sessions = newSpace(o, cfg.Idle, t.done)
		t.sessions.holds, t.keys.holds, t.keys.spares = 1, 1, 0
		t.sessions.sibling, t.keys.sibling = t.keys, t.sessions
	}
	k, err := do(ctx, t.keys, func() (*storageKey, error) { return t.findParent(t.keys) })
	if err != nil {
		go t.Close() // a TPM that hangs does not hold up its error
		return nil, failed("opening", err)
	}
	t.setParent(k)
	return t, nil
}

// findParent is chooseParent, restricted to the key of [Config.SRKName].
func (t *TPM) findParent(sp *space) (*storageKey, error) {
	k, err := t.chooseParent(sp)
	if err != nil || t.isPinned(k) {
		return k, err
	}
	// The pinned key may be persistent and have failed to answer just now.
	k, err = t.readPersistent(sp, persistentSRK)
	if isNoHandle(err) {
		err = t.missing(sp, persistentSRK, err)
	}
	switch {
	case err != nil && !errors.Is(err, ErrKeyUnusable):
		return nil, err
	case err == nil && t.isPinned(k) && soundStorageKey(&k.public):
		return t.remember(k), nil
	}
	return nil, errOtherSRK
}

// managed reports whether there is a resource manager in between, which swaps
// what a space has loaded around every command.
func (t *TPM) managed() bool { return t.sessions != t.keys }

func (t *TPM) defaultParent() *storageKey {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.parent
}

func (t *TPM) setParent(k *storageKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.parent = k
}

var _ KeyStore = (*TPM)(nil)

// SRKName returns the name of the storage root key that new keys are made
// under, 34 bytes, for [Config.SRKName]. If nothing was made or used under it
// yet, it first asks the TPM whether the key can be used without an auth value:
// one command, or two with the session.
func (t *TPM) SRKName(ctx context.Context) ([]byte, error) {
	name, err := do(ctx, t.keys, func() ([]byte, error) {
		k := t.defaultParent()
		return k.name, t.tryParent(t.keys, k)
	})
	if err != nil {
		return nil, failed("reading the storage root key", err)
	}
	return bytes.Clone(name), nil
}

// Close waits for the operation under way, flushes what is loaded and closes
// the connections.
func (t *TPM) Close() error {
	t.closing.Do(func() {
		close(t.done)
		if t.sessions == t.keys {
			t.closeErr = t.keys.shut(closeGrace)
			return
		}
		other := make(chan error, 1)
		go func() { other <- t.sessions.shut(closeGrace) }()
		t.closeErr = errors.Join(t.keys.shut(closeGrace), <-other)
	})
	return t.closeErr
}

// Info asks the TPM who made it, once.
func (t *TPM) Info(ctx context.Context) (Info, error) {
	t.mu.Lock()
	known := t.info
	t.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	info, err := do(ctx, t.keys, func() (Info, error) {
		p, err := tpmProperties(t.keys, tpm2.TPMPTManufacturer, 8)
		if err != nil {
			return Info{}, err
		}
		return infoOf(p), nil
	})
	if err != nil {
		return Info{}, failed("reading properties", err)
	}
	t.mu.Lock()
	t.info = &info
	t.mu.Unlock()
	return info, nil
}

func infoOf(p map[tpm2.TPMPT]uint32) Info {
	text := func(props ...tpm2.TPMPT) string {
		var b []byte
		for _, pt := range props {
			b = binary.BigEndian.AppendUint32(b, p[pt])
		}
		printable := strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return -1
			}
			return r
		}, string(b))
		return strings.Join(strings.Fields(printable), " ")
	}
	v1, v2 := p[tpm2.TPMPTFirmwareVersion1], p[tpm2.TPMPTFirmwareVersion2]
	return Info{
		Hardware:     true,
		Backend:      "tpm",
		Manufacturer: text(tpm2.TPMPTManufacturer),
		Model: text(tpm2.TPMPTVendorString1, tpm2.TPMPTVendorString2,
			tpm2.TPMPTVendorString3, tpm2.TPMPTVendorString4),
		Firmware: fmt.Sprintf("%d.%d.%d.%d", v1>>16, v1&0xffff, v2>>16, v2&0xffff),
	}
}

// p256 returns the public key of a point, which must be on the curve.
func p256(x, y []byte) (*ecdsa.PublicKey, error) {
	if len(x) > 32 || len(y) > 32 {
		return nil, errors.New("coordinate size")
	}
	point := make([]byte, 65)
	point[0] = 4
	copy(point[33-len(x):33], x)
	copy(point[65-len(y):], y)
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
}
