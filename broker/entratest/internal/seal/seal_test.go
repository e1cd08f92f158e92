package seal_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/seal"
)

type record struct {
	A string
	N int64
}

func TestSeal(t *testing.T) {
	b := seal.New(make([]byte, 32), rand.Reader)
	in := record{"a", 1 << 40}
	token := b.Seal("1.X", in)
	var out record
	require.NoError(t, b.Open("1.X", token, &out))
	require.Equal(t, in, out)
	require.NotEqual(t, token, b.Seal("1.X", in))

	require.ErrorIs(t, b.Open("0.X", token, &out), seal.ErrInvalid, "another kind")
	require.ErrorIs(t, b.Open("0.X", "0.X"+token[3:], &out), seal.ErrInvalid, "another kind's prefix")
	require.ErrorIs(t, seal.New(append(make([]byte, 31), 1), rand.Reader).Open("1.X", token, &out), seal.ErrInvalid, "another key")
	for _, bad := range []string{"", "1.X", "1.X!", "1.XAAAA", "1.X" + strings.Repeat("A", 16)} {
		require.ErrorIs(t, b.Open("1.X", bad, &out), seal.ErrInvalid)
	}
}

// A token is at most as large as MaxSize says.
func TestLargest(t *testing.T) {
	const kind = "kind" // of four bytes, so that base64 reaches the limit exactly
	b := seal.New(make([]byte, 32), rand.Reader)
	overhead := len(b.Seal(kind, "")) - len(kind)
	var out string
	for name, tt := range map[string]struct {
		size int
		want error
	}{"the largest": {seal.MaxSize, nil}, "larger": {seal.MaxSize + 2, seal.ErrInvalid}} {
		token := b.Seal(kind, strings.Repeat("x", (tt.size-len(kind))*3/4-overhead*3/4))
		require.Len(t, token, tt.size, name)
		require.ErrorIs(t, b.Open(kind, token, &out), tt.want, name)
	}
}

// What was not sealed is never opened.
func FuzzOpen(f *testing.F) {
	// Fuzzing runs in several processes: all must seal alike.
	b := seal.New(make([]byte, 32), strings.NewReader(strings.Repeat("0", 12)))
	good := b.Seal("1.X", record{"a", 1})
	f.Add(good, uint16(7), byte(1))
	f.Fuzz(func(t *testing.T, text string, at uint16, flip byte) {
		var out record
		if text != good {
			require.ErrorIs(t, b.Open("1.X", text, &out), seal.ErrInvalid)
		}
		m := []byte(good)
		m[int(at)%len(m)] ^= flip
		if flip != 0 {
			require.ErrorIs(t, b.Open("1.X", string(m), &out), seal.ErrInvalid)
		}
	})
}
