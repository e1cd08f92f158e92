// Package store keeps opaque records by name: the contract that the broker's
// state needs ([Store], [Leaser]), a store in memory ([Memory]), one in the files
// of a directory that several processes share ([File]) and one whose records are
// a single value, for programs that keep the state of a user themselves ([Blob]).
//
//	st, err := store.NewFile(filepath.Join(dir, "broker"))
//	if err != nil {
//		log.Fatal(err)
//	}
//
// Records are sealed before they get to a store: it never sees a secret.
// Package [github.com/prtbroker/prtbroker/broker/store/storetest] is the test
// suite that a store of your own must pass.
package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
)

// A Store keeps opaque records by name. The broker seals what it puts there. A
// store is safe for concurrent use and compares versions, so that two writers
// cannot overwrite each other unnoticed.
//
// A store that several processes share also implements [Leaser].
type Store interface {
	// Get returns a record and its version, or ErrNotFound. The caller owns
	// the data.
	Get(ctx context.Context, name string) (data []byte, v Version, err error)

	// Put writes a record if its current version is old, and returns its new
	// version; the zero version means that there is no such record yet. If the
	// version is a different one, it returns ErrConflict and writes nothing. A
	// reader sees the old record or the new one, even after a crash. The stores
	// of this package refuse a record of more than [MaxRecord] bytes.
	Put(ctx context.Context, name string, data []byte, old Version) (Version, error)

	// Delete removes a record if its current version is old. It returns
	// ErrConflict if the version is a different one, and ErrNotFound if there is
	// no record. A record that Get finds damaged (ErrDamaged) has the zero
	// version.
	Delete(ctx context.Context, name string, old Version) error

	// List returns the names that begin with prefix, sorted.
	List(ctx context.Context, prefix string) ([]string, error)
}

// A Leaser is a Store that also lends a name to one holder at a time, among
// all processes that share it. A lease is the one lock that the broker holds
// over a request: it keeps two processes from renewing one PRT, or from
// registering one device, at once.
type Leaser interface {
	// Lease waits for the name until ctx ends. A lease ends with its holder.
	Lease(ctx context.Context, name string) (release func(), err error)
}

// A Version identifies one content of a record. No two writes of a record have
// the same version. Zero: there is no record.
type Version uint64

var (
	// ErrNotFound: the store has no such record.
	ErrNotFound = errors.New("store: no such record")
	// ErrConflict: the record has a different version.
	ErrConflict = errors.New("store: the record was changed by another writer")
	// ErrDamaged: the record is not what was written. Nothing is
	// overwritten.
	ErrDamaged = errors.New("store: the state is damaged")
)

const (
	// MaxRecord is the largest record that the stores of this package take,
	// in bytes.
	MaxRecord = 16 << 20

	maxName = 128
)

// CheckName reports whether a name may be a record's: 1 to 128 bytes of
// a-z, 0-9, '.', '_' and '-', beginning with a letter or a digit. Stores can
// therefore use names as file names.
func CheckName(name string) error {
	if name == "" || len(name) > maxName || strings.ContainsRune("._-", rune(name[0])) {
		return fmt.Errorf("store: %q is not a valid record name", name)
	}
	for _, c := range []byte(name) {
		if ('a' > c || c > 'z') && ('0' > c || c > '9') && c != '.' && c != '_' && c != '-' {
			return fmt.Errorf("store: %q is not a valid record name", name)
		}
	}
	return nil
}

// nextVersion returns a version that is neither zero nor old.
func nextVersion(old Version) Version {
	for {
		if v := Version(rand.Uint64()); v != 0 && v != old {
			return v
		}
	}
}

func check(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return CheckName(name)
}

func errRecordSize(name string, n int) error {
	return fmt.Errorf("store: record %s has %d bytes; at most %d are allowed", name, n, MaxRecord)
}
