package strictjson_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/strictjson"
)

// twice finds a repeated member by another road: the token stream of
// encoding/json.
func twice(d *json.Decoder) bool {
	tok, err := d.Token()
	if err != nil {
		return false
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return false
	}
	seen := map[string]bool{}
	for d.More() {
		if delim == '{' {
			name, err := d.Token()
			if err != nil {
				return false
			}
			if seen[name.(string)] {
				return true
			}
			seen[name.(string)] = true
		}
		if twice(d) {
			return true
		}
	}
	_, _ = d.Token()
	return false
}

// depth is how deep a valid text nests.
func depth(b []byte) (most int) {
	n, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			n++
			most = max(most, n)
		case c == '}' || c == ']':
			n--
		}
	}
	return most
}

// Check accepts what encoding/json does, less what it is there to refuse.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{`{"a":[1,{"b":"\"}"}],"c":null}`, `{"a":1,"\u0061":2}`, `[[[]]]`, `"x"`, ` { } `, `{"\ud800":1,"\ufffd":2}`, `-0.5e+3`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		want := json.Valid(b) && utf8.Valid(b) && depth(b) <= strictjson.MaxDepth+1 && !twice(json.NewDecoder(bytes.NewReader(b)))
		// A scalar may stand one level below the deepest array.
		if d := depth(b); d > strictjson.MaxDepth && d <= strictjson.MaxDepth+1 {
			t.Skip()
		}
		require.Equal(t, want, strictjson.Check(b, 1<<20) == nil, "%q", b)
		o, err := strictjson.Parse(b, 1<<20)
		if err != nil {
			return
		}
		for name := range o.Members() {
			o.String(name)
			o.Int(name)
			o.Strings(name)
			o.Object(name)
			o.Array(name)
		}
	})
}
