package prt_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/prt"
)

func TestSecretIsNotPrinted(t *testing.T) {
	const canary = "canary-5e2b"
	type holder struct {
		Public  prt.Secret
		private prt.Secret
		nested  *struct{ v prt.Secret }
		list    []prt.Secret
	}
	v := prt.NewSecret(canary)
	h := holder{Public: v, private: v, nested: &struct{ v prt.Secret }{v}, list: []prt.Secret{v}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%p", "%08.3f"} {
		for _, x := range []any{v, &v, h, &h, []any{h, map[string]prt.Secret{"k": v}}} {
			fmt.Fprintf(&out, verb+"\n", x)
		}
	}
	fmt.Fprintln(&out, v, h, &h, fmt.Errorf("wrapped %v", h))
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("message", "secret", v, "pointer", &v, "holder", h, "holderPointer", &h)
	}
	for _, x := range []any{v, &v, h, &h, map[string]any{"v": v}, map[prt.Secret]int{v: 1}} {
		b, err := json.Marshal(x)
		require.NoError(t, err)
		out.Write(b)
	}
	for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprint([]byte(canary))} {
		require.NotContains(t, out.String(), form)
	}
	require.Contains(t, out.String(), "[redacted]")
}

func TestSecret(t *testing.T) {
	v := prt.NewSecret("one")
	same := v
	require.Equal(t, []byte("one"), v.Bytes())
	require.True(t, v.Equal(prt.NewSecret("one")))
	require.False(t, v.Equal(prt.NewSecret("two")))
	v.Clear()
	require.True(t, same.IsZero(), "Clear reaches every copy")
	require.Empty(t, same.Reveal())
	require.Empty(t, same.String())

	none := prt.NewSecret("")
	require.Equal(t, prt.Secret{}, none)
	require.Nil(t, none.Bytes())
	none.Clear()
	text, err := none.MarshalText()
	require.NoError(t, err)
	require.Empty(t, text)
}
