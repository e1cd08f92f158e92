package broker

import (
	"context"
	"strings"
	"testing"

	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/stretchr/testify/require"
)

// overtakingStore lets another call in after a state was read, and before the
// reader has it.
type overtakingStore struct {
	store.Store
	then func()
}

func (s *overtakingStore) Get(ctx context.Context, name string) ([]byte, store.Version, error) {
	data, v, err := s.Store.Get(ctx, name)
	if then := s.then; then != nil && strings.HasSuffix(name, stateSuffix) {
		s.then = nil
		then()
	}
	return data, v, err
}

// A state that was the newest when it was read is not taken for one that was
// put back, because another call of this process has written since.
func TestVaultReadIsOvertaken(t *testing.T) {
	t.Parallel()
	st := &overtakingStore{Store: &store.Memory{}}
	ctx := t.Context()
	v := testVault(t, testKeys(t), st)
	first, err := v.write(ctx, stateSuffix, []byte("one"), sealedRecord{})
	require.NoError(t, err)
	st.then = func() {
		_, err := v.write(ctx, stateSuffix, []byte("two"), first)
		require.NoError(t, err)
	}
	r, err := v.read(ctx, stateSuffix)
	require.NoError(t, err)
	require.Equal(t, "one", string(r.plain))
	_, err = v.write(ctx, stateSuffix, []byte("three"), r)
	require.ErrorIs(t, err, store.ErrConflict, "and what it is based on does not overwrite the newer one")
	r, err = v.read(ctx, stateSuffix)
	require.NoError(t, err)
	require.Equal(t, "two", string(r.plain))
}
