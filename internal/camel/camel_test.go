package camel

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestName(t *testing.T) {
	for name, want := range map[string]string{"ID": "id", "URIs": "uris", "TOTPSecret": "totpSecret", "ClientID": "clientID", "Public": "public", "SPA": "spa"} {
		require.Equal(t, want, Name(name))
	}
}

type sample struct {
	ID      string
	MFATime time.Time
	Seen    time.Time
	Roles   []string
	Raw     json.RawMessage
	Inner   struct{ OK bool }
	Match   func()
	hidden  int
}

func TestMarshal(t *testing.T) {
	v := sample{ID: "1", Seen: time.Unix(0, 0).UTC(), Raw: json.RawMessage(`{"a":1}`), hidden: 1}
	v.Inner.OK = true
	text, err := Marshal([]sample{v})
	require.NoError(t, err)
	require.JSONEq(t, `[{"id":"1","seen":"1970-01-01T00:00:00Z","roles":[],"raw":{"a":1},"inner":{"ok":true}}]`, string(text))
	var back []sample
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, "1", back[0].ID)
	require.True(t, back[0].Inner.OK)
}

// Every member that Marshal writes is described.
func TestSchema(t *testing.T) {
	s := Schema(reflect.TypeFor[sample]())
	require.Equal(t, false, s["additionalProperties"])
	members := s["properties"].(map[string]any)
	require.Len(t, members, 6)
	require.ElementsMatch(t, Names(reflect.TypeFor[sample]()), []string{"id", "mfaTime", "seen", "roles", "raw", "inner"})
	require.Equal(t, map[string]any{"type": "string", "format": "date-time"}, members["seen"])
	require.Equal(t, map[string]any{"type": "array", "items": map[string]any{"type": "string"}}, members["roles"])
}
