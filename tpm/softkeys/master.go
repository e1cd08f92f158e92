package softkeys

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/crypto/argon2"

	"github.com/prtbroker/prtbroker/tpm"
)

const masterSize = 32

// A Master says where the master key comes from.
type Master struct {
	load func() ([]byte, error)
}

// ErrPassphrase means that the passphrase does not open the master key.
var ErrPassphrase = errors.New("softkeys: wrong passphrase")

// File keeps a random master key in a file of mode 0600, which it makes if it
// is missing. A file that others may read is refused.
func File(path string) Master {
	return Master{func() ([]byte, error) {
		b, err := readOrCreate(path, func() ([]byte, error) { return random(masterSize) })
		if err != nil {
			return nil, err
		}
		if len(b) != masterSize {
			return nil, fmt.Errorf("softkeys: %s is not a master key: %d bytes instead of %d", path, len(b), masterSize)
		}
		return b, nil
	}}
}

// Secret takes the master key from the caller: at least 32 bytes of entropy,
// such as a secret from systemd-creds or a keyring, or one unsealed by a TPM.
func Secret(secret []byte) Master {
	secret = bytes.Clone(secret)
	return Master{func() ([]byte, error) {
		if len(secret) < masterSize {
			return nil, fmt.Errorf("softkeys: a secret of %d bytes; at least %d are needed", len(secret), masterSize)
		}
		return bytes.Clone(secret), nil
	}}
}

// Passphrase keeps a random master key in a file of mode 0600, made when
// missing, encrypted under the passphrase by Argon2id (t=3, 64 MiB, p=4; about
// 150 ms). The error for a wrong passphrase is [ErrPassphrase].
func Passphrase(path string, passphrase []byte) Master {
	passphrase = bytes.Clone(passphrase)
	return Master{func() ([]byte, error) {
		if len(passphrase) == 0 {
			return nil, errors.New("softkeys: empty passphrase")
		}
		b, err := readOrCreate(path, func() ([]byte, error) {
			master, err := random(masterSize)
			if err != nil {
				return nil, err
			}
			return productionCost.lock(passphrase, master, []byte(passphraseContext))
		})
		if err != nil {
			return nil, err
		}
		master, err := unlock(passphrase, b, []byte(passphraseContext))
		if errors.Is(err, errSecret) {
			return nil, ErrPassphrase
		}
		if err != nil {
			return nil, fmt.Errorf("softkeys: %s: %w", path, err)
		}
		if len(master) != masterSize {
			return nil, fmt.Errorf("softkeys: %s is not a master key", path)
		}
		return master, nil
	}}
}

const passphraseContext = "prtbroker softkeys passphrase"

// maxMasterFile bounds what is read of a master key file, in bytes.
const maxMasterFile = 1024

func readOrCreate(path string, content func() ([]byte, error)) ([]byte, error) {
	b, err := readPrivate(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	if b, err = content(); err != nil {
		return nil, err
	}
	if err := writeNew(path, b); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("softkeys: %w", err)
	}
	// Another process may have been first: its file counts.
	return readPrivate(path)
}

func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("softkeys: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("softkeys: %w", err)
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("softkeys: %s is not a regular file", path)
	}
	// Windows has no such mode bits.
	if runtime.GOOS != "windows" && fi.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("softkeys: others can read %s (mode %#o); it must be 0600", path, fi.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxMasterFile))
	if err != nil {
		return nil, fmt.Errorf("softkeys: %w", err)
	}
	return b, nil
}

// writeNew puts a whole file in place or nothing, and never replaces another.
func writeNew(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".master-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil && runtime.GOOS != "windows" {
		return err
	}
	return nil
}

// argonCost is the cost of one guess at a passphrase or PIN under Argon2id.
type argonCost struct {
	time    uint32
	memory  uint32 // KiB
	threads uint8
}

var (
	productionCost = argonCost{time: 3, memory: 64 << 10, threads: 4}
	insecureCost   = argonCost{time: 1, memory: 8, threads: 1} // the least that Argon2 allows
)

// The largest costs accepted from a record, and the layout of its header.
const (
	maxTime     = 16
	maxMemory   = 256 << 10 // KiB
	maxThreads  = 16
	argonSalt   = 16
	argonHeader = 4 + 4 + 1 + argonSalt
	gcmOverhead = 12 + 16 // nonce and tag
)

// errSecret means that a passphrase or PIN is wrong.
var errSecret = errors.New("wrong secret")

// lock encrypts plaintext under a low-entropy secret. The result is time,
// memory and threads of Argon2id, its salt, and AES-256-GCM with nonce.
func (c argonCost) lock(secret, plaintext, context []byte) ([]byte, error) {
	salt, err := random(argonSalt)
	if err != nil {
		return nil, err
	}
	b := binary.BigEndian.AppendUint32(nil, c.time)
	b = binary.BigEndian.AppendUint32(b, c.memory)
	b = append(b, c.threads)
	b = append(b, salt...)
	key := argon2.IDKey(secret, salt, c.time, c.memory, c.threads, 32)
	defer clear(key)
	return append(b, seal(key, plaintext, aad(context, b))...), nil
}

// acceptable reports whether a record may cost this much. The least is what Argon2
// allows (RFC 9106, 3.1).
func (c argonCost) acceptable() bool {
	return 1 <= c.time && c.time <= maxTime && 1 <= c.threads && c.threads <= maxThreads &&
		8*uint32(c.threads) <= c.memory && c.memory <= maxMemory
}

func unlock(secret, locked, context []byte) ([]byte, error) {
	if len(locked) < argonHeader+gcmOverhead {
		return nil, fmt.Errorf("%w: truncated", tpm.ErrInvalidBlob)
	}
	head := locked[:argonHeader]
	c := argonCost{time: binary.BigEndian.Uint32(head), memory: binary.BigEndian.Uint32(head[4:]), threads: head[8]}
	if !c.acceptable() {
		return nil, fmt.Errorf("%w: Argon2id parameters out of range", tpm.ErrInvalidBlob)
	}
	key := argon2.IDKey(secret, head[9:], c.time, c.memory, c.threads, 32)
	defer clear(key)
	plaintext, err := open(key, locked[argonHeader:], aad(context, head))
	if err != nil {
		return nil, errSecret
	}
	return plaintext, nil
}

func random(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := rand.Read(b)
	return b, err
}
