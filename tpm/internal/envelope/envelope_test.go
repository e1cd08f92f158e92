package envelope_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm/internal/envelope"
)

func TestRoundTrip(t *testing.T) {
	most := make([]byte, envelope.MaxSize-len("prtbroker\x00")-4-2)
	for name, fields := range map[string][][]byte{
		"some":         {{}, {1}, bytes.Repeat([]byte{2}, 300)},
		"none":         {},
		"an empty one": {{1}, {}},
		"of MaxSize":   {most},
	} {
		t.Run(name, func(t *testing.T) {
			b := envelope.Marshal(envelope.TPM, envelope.Session, fields...)
			got, err := envelope.Unmarshal(b, envelope.TPM, envelope.Session, len(fields))
			require.NoError(t, err)
			require.Equal(t, fields, got)
		})
	}
}

func TestForm(t *testing.T) {
	require.Equal(t,
		"prtbroker\x00\x01\x02\x03\x02\x00\x01a\x00\x02bc",
		string(envelope.Marshal(envelope.SoftKeys, envelope.Sealed, []byte("a"), []byte("bc"))))
}

func TestRefused(t *testing.T) {
	good := envelope.Marshal(envelope.TPM, envelope.Session, []byte("a"), []byte("bc"))
	change := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	tests := []struct {
		name string
		blob []byte
		want error
	}{
		{"empty", nil, envelope.ErrMalformed},
		{"another beginning", change(0, 'P'), envelope.ErrMalformed},
		{"a later version", change(10, 2), envelope.ErrMalformed},
		{"another store", change(11, byte(envelope.SoftKeys)), envelope.ErrStore},
		{"unknown store", change(11, 9), envelope.ErrMalformed},
		{"another kind", change(12, byte(envelope.Key)), envelope.ErrMalformed},
		{"more fields", change(13, 3), envelope.ErrMalformed},
		{"fewer fields", change(13, 1), envelope.ErrMalformed},
		{"longer field", change(15, 9), envelope.ErrMalformed},
		{"trailing byte", append(bytes.Clone(good), 0), envelope.ErrMalformed},
		{"too large", envelope.Marshal(envelope.TPM, envelope.Session, make([]byte, envelope.MaxSize), nil), envelope.ErrMalformed},
	}
	for n := range good {
		tests = append(tests, struct {
			name string
			blob []byte
			want error
		}{"truncated", good[:n], envelope.ErrMalformed})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := envelope.Unmarshal(tt.blob, envelope.TPM, envelope.Session, 2)
			require.ErrorIs(t, err, tt.want)
		})
	}
}

// There is one encoding of a value.
func FuzzUnmarshal(f *testing.F) {
	f.Add(envelope.Marshal(envelope.TPM, envelope.Session, []byte("a"), []byte("bc")), 2)
	f.Add(envelope.Marshal(envelope.TPM, envelope.Session), 0)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		if n < 0 || n > 255 {
			return
		}
		fields, err := envelope.Unmarshal(b, envelope.TPM, envelope.Session, n)
		if err == nil && !bytes.Equal(b, envelope.Marshal(envelope.TPM, envelope.Session, fields...)) {
			t.Fatalf("%x was taken for %x", b, fields)
		}
	})
}
