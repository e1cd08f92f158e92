package vault

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
	if then := s.then; then != nil && strings.HasSuffix(name, StateSuffix) {
		s.then = nil
		then()
	}
	return data, v, err
}

// A state that was the newest when it was read is not taken for one that was
// put back, because another call of this process has written since.
func TestReadIsOvertaken(t *testing.T) {
	t.Parallel()
	st := &overtakingStore{Store: &store.Memory{}}
	ctx := t.Context()
	v := testVault(t, testKeys(t), st)
	first, err := v.Write(ctx, StateSuffix, []byte("one"), Record{})
	require.NoError(t, err)
	st.then = func() {
		_, err := v.Write(ctx, StateSuffix, []byte("two"), first)
		require.NoError(t, err)
	}
	r, err := v.Read(ctx, StateSuffix)
	require.NoError(t, err)
	require.Equal(t, "one", string(r.Plain))
	_, err = v.Write(ctx, StateSuffix, []byte("three"), r)
	require.ErrorIs(t, err, store.ErrConflict, "and what it is based on does not overwrite the newer one")
	r, err = v.Read(ctx, StateSuffix)
	require.NoError(t, err)
	require.Equal(t, "two", string(r.Plain))
}
