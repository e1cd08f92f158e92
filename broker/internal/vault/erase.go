package vault

import (
	"context"
	"errors"
	"fmt"

	"github.com/prtbroker/prtbroker/broker/store"
)

// Destroy erases the owner's records: the data key first, without which the
// others are useless. Before that it marks the owner in the store as being
// erased.
func (v *Vault) Destroy(ctx context.Context) error {
	_, err := v.store.Put(ctx, v.owner+erasingSuffix, []byte("1"), 0)
	if err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrDamaged) {
		return err
	}
	if err := v.Erase(ctx, KeySuffix); err != nil {
		return err
	}
	v.drop()
	return v.sweep(ctx)
}

// sweep erases records that a removal left behind. If there is a data key
// again, they belong to whoever made it, who may be another process: each is
// erased only in the version that was there while the key was not.
func (v *Vault) sweep(ctx context.Context) error {
	for range MaxConflicts {
		_, erasing, err := v.store.Get(ctx, v.owner+erasingSuffix)
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrDamaged) {
			return err
		}
		said := err == nil || errors.Is(err, store.ErrDamaged)
		left, err := v.records(ctx)
		if err != nil || len(left) == 0 && !said {
			return err
		}
		if len(left) == 0 {
			left[v.owner+erasingSuffix] = erasing // the last
		}
		if _, _, err := v.store.Get(ctx, v.owner+KeySuffix); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		for name, version := range left {
			err := v.store.Delete(ctx, name, version)
			if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrConflict) {
				return err
			}
		}
	}
	return fmt.Errorf("broker: erasing %s: %w", v.owner, store.ErrConflict)
}

// records returns the versions of the owner's records, but for the data key's
// and the one that says that they are being erased.
func (v *Vault) records(ctx context.Context) (map[string]store.Version, error) {
	names, err := v.store.List(ctx, v.owner+".")
	if err != nil {
		return nil, err
	}
	all := map[string]store.Version{}
	for _, n := range names {
		if n == v.owner+KeySuffix || n == v.owner+erasingSuffix {
			continue
		}
		_, version, err := v.store.Get(ctx, n)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return nil, err
		}
		all[n] = version
	}
	return all, nil
}

// Erase deletes a record of the owner, whatever its version. It is not an error
// if there is none, and a damaged one is deleted like any other.
func (v *Vault) Erase(ctx context.Context, suffix string) error {
	name := v.owner + suffix
	for {
		_, version, err := v.store.Get(ctx, name)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return err
		}
		err = v.store.Delete(ctx, name, version)
		if err == nil || errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}
