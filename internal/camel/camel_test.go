package camel

import (
	"encoding/json"
	"reflect"
	"regexp"
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

type word int

func (w word) MarshalText() ([]byte, error)  { return []byte{'a' + byte(w)}, nil }
func (w *word) UnmarshalText(b []byte) error { *w = word(b[0] - 'a'); return nil }

// Durations and types with a text of their own are strings.
func TestWords(t *testing.T) {
	type words struct {
		For  time.Duration
		Kind word
	}
	got, err := Marshal(words{90 * time.Second, 2})
	require.NoError(t, err)
	require.JSONEq(t, `{"for": "1m30s", "kind": "c"}`, string(got))
	got, err = MarshalSet([]sample{{ID: "1", Roles: []string{}}, {}})
	require.NoError(t, err)
	require.JSONEq(t, `[{"id": "1", "roles": []}, {}]`, string(got), "no list is not an empty one")
	members, _ := Schema(reflect.TypeFor[words]())["properties"].(map[string]any)
	require.Equal(t, map[string]any{"type": "string"}, members["kind"])
	span, _ := members["for"].(map[string]any)
	require.Equal(t, "string", span["type"])
	for text, want := range map[string]bool{"1m30s": true, "-1ns": true, "0": true, "1.5h": true, "soon": false, "90": false} {
		require.Equal(t, want, regexp.MustCompile(span["pattern"].(string)).MatchString(text), text)
	}
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
