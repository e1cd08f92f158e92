package policy_test

import (
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/policy"
)

func TestNotJSON(t *testing.T) {
	for _, tt := range []struct {
		name, text   string
		line, column int
	}{
		{"empty", "", 1, 1},
		{"missing comma", "{\n  \"id\": \"a\"\n  \"state\": \"enabled\"\n}", 3, 3},
		{"placeholder", "{\"value\": <policies>}", 1, 11},
		{"cut off", "{\"conditions\": {", 1, 17},
		{"cut off in a second document", exported + "\n{\"conditions\": [", 2, 17},
		{"cut off before a value of it", exported + "\n{\"id\":", 2, 7},
		{"text behind", exported + "\nend", 2, 1},
		{"too deep", strings.Repeat("[", 100), 1, 65},
		{"UTF-16", encoded("{\n!", binary.LittleEndian, true), 2, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := policy.Load(strings.NewReader(tt.text))
			var syntax *policy.SyntaxError
			require.ErrorAs(t, err, &syntax)
			require.Equal(t, [2]int{tt.line, tt.column}, [2]int{syntax.Line, syntax.Column}, err.Error())
			require.True(t, strings.HasPrefix(err.Error(), "policy: "))
		})
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("broken pipe") }

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestLoadLimits(t *testing.T) {
	_, _, err := policy.Load(failing{})
	require.ErrorContains(t, err, "broken pipe")
	_, _, err = policy.Load(endless{})
	require.ErrorContains(t, err, "larger than")

	const limit = 64 << 20
	spaces := func(n int64) io.Reader { return io.MultiReader(io.LimitReader(endless{}, n-1), strings.NewReader("1")) }
	_, diags, err := policy.Load(spaces(limit))
	require.NoError(t, err)
	require.Len(t, diags, 1, "the last byte was read")
	_, _, err = policy.Load(spaces(limit + 1))
	require.EqualError(t, err, "policy: the export is larger than 67108864 bytes")
}

// A document may be of two bytes, in which nothing but a zero tells the encoding.
func TestShortestUTF16(t *testing.T) {
	for name, order := range map[string]binary.ByteOrder{"little endian": binary.LittleEndian, "big endian": binary.BigEndian} {
		t.Run(name, func(t *testing.T) {
			_, diags := load(t, encoded("1", order, false))
			require.Len(t, diags, 1)
			require.Equal(t, policy.CodeUnknownThing, diags[0].Code)
		})
	}
}
