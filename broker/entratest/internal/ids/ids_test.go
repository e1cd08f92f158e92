package ids_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
)

// The SID of an object id, as published by O. Kieselbach, "Convert Azure AD SID
// to Object ID" (2020).
func TestSID(t *testing.T) {
	require.Equal(t, "S-1-12-1-1943430372-1249052806-2496021943-3034400218", ids.SID("73d664e4-0886-4a73-b745-c694da45ddb4"))
}

func TestGUIDBytes(t *testing.T) {
	b, ok := ids.GUIDBytes("00112233-4455-6677-8899-aabbccddeeff")
	require.True(t, ok)
	require.Equal(t, "33221100554477668899aabbccddeeff", ids.Hex(b[:]))
	for _, bad := range []string{"", "00112233445566778899aabbccddeeff", "00112233-4455-6677-8899-aabbccddeefg", "00112233-4455-6677-8899_aabbccddeeff"} {
		require.False(t, ids.IsGUID(bad), bad)
	}
}

func TestSource(t *testing.T) {
	a, b := ids.NewSource(7), ids.NewSource(7)
	require.Equal(t, a.GUID(), b.GUID(), "equal seeds")
	require.NotEqual(t, a.GUID(), a.GUID())
	require.NotEqual(t, ids.NewSource(8).GUID(), ids.NewSource(7).GUID(), "other seeds")
	require.Regexp(t, "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$", a.GUID(), "version 4")
	require.True(t, ids.IsGUID(a.GUID()))

	state, err := a.State()
	require.NoError(t, err)
	next := a.Bytes(16)
	require.NoError(t, b.Restore(state))
	require.Equal(t, next, b.Bytes(16), "goes on where the state was taken")
	require.ErrorContains(t, b.Restore([]byte("no state")), "ChaCha8")
	for range 100 {
		require.Less(t, a.Number(10), 10)
	}
}

// A derived identifier does not depend on what was asked before.
func TestDerived(t *testing.T) {
	a, b := ids.NewSource(1), ids.NewSource(1)
	a.Bytes(3)
	require.Equal(t, a.Derived("user", "alice"), b.Derived("user", "alice"))
	require.NotEqual(t, a.Derived("user", "alice"), a.Derived("group", "alice"))
	require.NotEqual(t, a.Derived("user", "alice"), ids.NewSource(2).Derived("user", "alice"))
}
