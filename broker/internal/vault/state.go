package vault

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/prtbroker/prtbroker/broker/store"
)

// StateVersion is the version of the JSON inside sealed records. Adding members
// keeps it; a change of meaning raises it, and Decode then converts the older
// versions. A newer version is refused and left as it is.
const StateVersion = 1

// Encode writes a record's JSON.
func Encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("broker: encoding the state: %w", err)
	}
	return b, nil
}

// Decode reads a record's JSON and checks its version.
func Decode(name string, plain []byte, v any) error {
	version, err := versionOf(plain)
	if err != nil {
		return fmt.Errorf("%w: %s is not readable", store.ErrDamaged, name)
	}
	if version < 1 || version > StateVersion {
		return fmt.Errorf("broker: %s was written by a newer version of this package", name)
	}
	if err := json.Unmarshal(plain, v); err != nil {
		return fmt.Errorf("%w: %s is not readable", store.ErrDamaged, name)
	}
	return nil
}

// versionOf reads the version of a record. Encode writes it first, so that the rest,
// which may be a megabyte of tokens, is not read for it.
func versionOf(plain []byte) (int, error) {
	d := json.NewDecoder(bytes.NewReader(plain))
	open, err := d.Token()
	if err != nil || open != json.Delim('{') {
		return 0, errors.New("not an object")
	}
	if first, err := d.Token(); err == nil && first == "v" {
		var version int
		err := d.Decode(&version)
		return version, err
	}
	var head struct {
		Version int `json:"v"`
	}
	err = json.Unmarshal(plain, &head)
	return head.Version, err
}

// Owners returns the owners whose records are among names: those with a data key,
// and those with a state, whose data key may be missing.
func Owners(names []string) (owners []string) {
	seen := make(map[string]bool, len(names))
	for _, n := range names {
		owner, ok := strings.CutSuffix(n, KeySuffix)
		if !ok {
			owner, ok = strings.CutSuffix(n, StateSuffix)
		}
		if ok && !seen[owner] {
			seen[owner] = true
			owners = append(owners, owner)
		}
	}
	return owners
}

const idLength = 32 // hex digits

// HashedID is an id as used in the name of a record. Ids are hashed because
// names are visible in the store.
func HashedID(kind, s string) string {
	sum := sha256.Sum256([]byte(kind + "\x00" + s))
	return hex.EncodeToString(sum[:])[:idLength]
}
