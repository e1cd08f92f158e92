package strictjson_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/strictjson"
)

func TestCheck(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, tt := range []struct {
		in   string
		want error
	}{
		{`{}`, nil}, {` { "a" : [ 1 , { "b" : "\"}" } ] , "c" : null } `, nil}, {`[]`, nil}, {`""`, nil}, {`-1.5e3`, nil},
		{`{"a":{"x":1},"b":{"x":1}}`, nil}, {`[{"x":1},{"x":1}]`, nil}, {`{"":1}`, nil}, {`{"a\\":1,"a\"":2}`, nil},
		{nested(strictjson.MaxDepth), nil}, {nested(strictjson.MaxDepth + 2), strictjson.ErrDepth}, {nested(100_000), strictjson.ErrSyntax},
		{``, strictjson.ErrSyntax}, {`{`, strictjson.ErrSyntax}, {`{}x`, strictjson.ErrSyntax}, {"{\"a\":\"\x00\"}", strictjson.ErrSyntax},
		{"\"\xff\"", strictjson.ErrUTF8}, {"\"\xed\xa0\x80\"", strictjson.ErrUTF8},
		{`{"a":1,"a":1}`, strictjson.ErrDuplicate}, {`{"a":1,"\u0061":1}`, strictjson.ErrDuplicate}, {`[[{"a":{"b":1,"b":2}}]]`, strictjson.ErrDuplicate},
		{`{"\ud800":1,"\udfff":1}`, strictjson.ErrDuplicate}, {`{"":1,"":2}`, strictjson.ErrDuplicate},
		{`"` + strings.Repeat("x", 1<<20) + `"`, strictjson.ErrSize},
	} {
		err := strictjson.Check([]byte(tt.in), 1<<20)
		name := tt.in[:min(len(tt.in), 40)]
		if tt.want == nil {
			require.NoError(t, err, name)
		} else {
			require.ErrorIs(t, err, tt.want, name)
		}
	}
}

func TestObject(t *testing.T) {
	o, err := strictjson.Parse([]byte(` {"s":"x","n":5,"ns":"6","f":7.0,"l":["a","b"],"l1":"a","o":{"k":"v"},"os":"{\"k\":\"w\"}","null":null,"a":[1,"2"],"bad":[5]} `), 1<<10)
	require.NoError(t, err)
	require.Equal(t, "x", o.String("s"))
	require.EqualValues(t, 5, o.Int("n"))
	require.EqualValues(t, 6, o.Int("ns"))
	require.EqualValues(t, 7, o.Int("f"))
	require.Equal(t, []string{"a", "b"}, o.Strings("l"))
	require.Equal(t, []string{"a"}, o.Strings("l1"))
	require.Equal(t, "v", o.Object("o").String("k"))
	require.Equal(t, "w", o.Object("os").String("k"))
	require.Len(t, o.Array("a"), 2)
	require.False(t, o.Has("null") || o.Has("absent") || o.Has("S"))
	require.Empty(t, o.String("null"))
	require.Nil(t, o.Strings("absent"))
	require.Nil(t, o.Object("absent"))
	require.NoError(t, o.Err())
	require.Equal(t, json.RawMessage(`"x"`), o.Take("s"))
	require.False(t, o.Has("s"))

	require.Nil(t, o.Strings("bad"))
	require.Zero(t, o.Int("l"))
	require.EqualError(t, o.Err(), "member bad is not an array of strings", "the first error is kept")
	for _, get := range []func(*strictjson.Object){
		func(o *strictjson.Object) { o.String("n") }, func(o *strictjson.Object) { o.Int("s") }, func(o *strictjson.Object) { o.Object("s") },
		func(o *strictjson.Object) { o.Array("s") }, func(o *strictjson.Object) { o.Strings("n") },
	} {
		o, err := strictjson.Parse([]byte(`{"s":"x","n":5}`), 100)
		require.NoError(t, err)
		get(o)
		var e *strictjson.TypeError
		require.ErrorAs(t, o.Err(), &e)
	}
	for _, in := range []string{`[]`, `"x"`, `5`, `null`} {
		_, err := strictjson.Parse([]byte(in), 100)
		require.ErrorIs(t, err, strictjson.ErrObject)
	}
	var none *strictjson.Object
	require.Empty(t, none.String("x"))
	require.Nil(t, none.Take("x"))
	require.NoError(t, none.Err())
	require.Nil(t, none.Members())
}

func TestInt(t *testing.T) {
	for in, want := range map[string]int64{`0`: 0, `-1`: -1, `"12"`: 12, `1e3`: 1000, `9007199254740992`: 1 << 53, `"9223372036854775807"`: 1<<63 - 1} {
		n, ok := strictjson.Int(json.RawMessage(in))
		require.True(t, ok, in)
		require.Equal(t, want, n, in)
	}
	for _, in := range []string{``, `""`, `"x"`, `1.5`, `1e400`, `"NaN"`, `"Inf"`, `{}`, `true`, `"0x1"`, `99999999999999999999`, `"1_000"`} {
		_, ok := strictjson.Int(json.RawMessage(in))
		require.False(t, ok, in)
	}
}
