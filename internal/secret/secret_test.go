package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/secret"
)

const canary = "canary-7d1f"

type holder struct {
	Public  secret.Value
	private secret.Value
	nested  *struct{ v secret.Value }
	list    []secret.Value
}

func TestNothingPrintsIt(t *testing.T) {
	v := secret.FromString(canary)
	h := holder{Public: v, private: v, nested: &struct{ v secret.Value }{v}, list: []secret.Value{v}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%p", "%08.3f"} {
		fmt.Fprintf(&out, verb+"\n", v)
		fmt.Fprintf(&out, verb+"\n", &v)
		fmt.Fprintf(&out, verb+"\n", h)
		fmt.Fprintf(&out, verb+"\n", &h)
		fmt.Fprintf(&out, verb+"\n", []any{h, map[string]secret.Value{"k": v}})
	}
	fmt.Fprintln(&out, v, h, &h, fmt.Errorf("wrapped %v", h))
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("message", "secret", v, "pointer", &v, "holder", h, "holderPointer", &h)
	}
	for _, x := range []any{v, &v, h, &h, map[string]any{"v": v}} {
		b, err := json.Marshal(x)
		require.NoError(t, err)
		out.Write(b)
	}
	require.NotContains(t, out.String(), canary)
	require.NotContains(t, out.String(), fmt.Sprintf("%x", canary))
	require.NotContains(t, out.String(), fmt.Sprintf("%X", canary))
	require.NotContains(t, out.String(), fmt.Sprint([]byte(canary)))
	require.Contains(t, out.String(), "[redacted]")
}

func TestClearReachesCopies(t *testing.T) {
	b := []byte(canary)
	v := secret.New(b)
	w := v
	require.True(t, v.Equal(w))
	require.Equal(t, canary, w.Reveal())
	v.Clear()
	require.Equal(t, make([]byte, len(canary)), b, "the memory is overwritten")
	require.True(t, w.IsZero())
	require.Empty(t, w.Reveal())
	require.Empty(t, fmt.Sprint(w))
	w.Clear()
	secret.Value{}.Clear()
}

func TestZero(t *testing.T) {
	var v secret.Value
	require.True(t, v.IsZero())
	require.Nil(t, v.Bytes())
	require.True(t, secret.New(nil).Equal(v))
	require.False(t, secret.FromString("a").Equal(secret.FromString("b")))
}
