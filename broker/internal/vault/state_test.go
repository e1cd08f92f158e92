package vault

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/store"
)

func TestNewerStateIsRefused(t *testing.T) {
	t.Parallel()
	var rec struct {
		Version int      `json:"v"`
		PRTs    []string `json:"prts"`
	}
	require.ErrorContains(t, Decode("account-1", []byte(`{"v":2}`), &rec), "newer version")
	require.ErrorIs(t, Decode("account-1", []byte(`{"v":1,"prts":7}`), &rec), store.ErrDamaged)
	require.ErrorContains(t, Decode("account-1", []byte(`{"prts":7,"v":2}`), &rec), "newer version", "wherever it stands")
	require.ErrorContains(t, Decode("account-1", []byte(`{"v":2,"prts":`), &rec), "newer version", "nothing behind it is read")
	require.ErrorIs(t, Decode("account-1", []byte(`{"v":"1"}`), &rec), store.ErrDamaged)
	require.ErrorIs(t, Decode("account-1", []byte(`{"v":1,"prts":`), &rec), store.ErrDamaged)
	for _, other := range []string{`[`, `["v",2]`, `null`, `7`, ``} {
		require.ErrorIs(t, Decode("account-1", []byte(other), &rec), store.ErrDamaged, "%q is not an object", other)
	}
	require.ErrorContains(t, Decode("account-1", []byte(`{}`), &rec), "newer version")
	plain, err := Encode(map[string]any{"v": StateVersion, "prts": []string{"a"}})
	require.NoError(t, err)
	require.NoError(t, Decode("account-1", plain, &rec))
	require.Equal(t, []string{"a"}, rec.PRTs)
}

func TestHashedIDTellsKindsApart(t *testing.T) {
	t.Parallel()
	require.NotEqual(t, HashedID("user", "1000"), HashedID("account", "1000"))
	require.NoError(t, store.CheckName("account-"+HashedID("user", "Ünïcode / anything")))
}
