package canary_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/canary"
)

// noise returns n bytes in which nothing is hidden.
func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// The control: a secret that is planted in an encoding is found, in the middle
// of other bytes, and what is not planted is not. The encodings are written
// here again, with other functions where there are any.
func TestPlanted(t *testing.T) {
	binarySecret, text := noise(7, 32), []byte("Correct+horse/battery \"staple\" äöü 9")
	plantings := map[string]func(b []byte) []byte{
		"plain":   func(b []byte) []byte { return b },
		"base64":  func(b []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(b)) },
		"shifted": func(b []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(append([]byte("x"), b...))) },
		"shifted by two, with a tail": func(b []byte) []byte {
			return []byte(base64.StdEncoding.EncodeToString(slices.Concat([]byte("xy"), b, []byte("zzzz"))))
		},
		"base64url": func(b []byte) []byte { return []byte(base64.URLEncoding.EncodeToString(b)) },
		"JWT": func(b []byte) []byte {
			return []byte(base64.RawURLEncoding.EncodeToString([]byte(`{"rt":"` + string(b) + `"}`)))
		},
		"hex":       func(b []byte) []byte { return []byte(hex.EncodeToString(b)) },
		"upper hex": func(b []byte) []byte { return fmt.Appendf(nil, "%X", b) },
		"% x":       func(b []byte) []byte { return fmt.Appendf(nil, "% x", b) },
		"hex dump":  func(b []byte) []byte { return fmt.Appendf(nil, "%#v", b) },
		"decimal":   func(b []byte) []byte { return fmt.Append(nil, b) },
		"JSON of bytes": func(b []byte) []byte {
			var list []int
			for _, c := range b {
				list = append(list, int(c))
			}
			j, _ := json.Marshal(list)
			return j
		},
		"UTF-16": func(b []byte) (out []byte) {
			for _, u := range utf16.Encode([]rune(string(b))) {
				out = append(out, byte(u), byte(u>>8))
			}
			return out
		},
		"big-endian UTF-16": func(b []byte) (out []byte) {
			for _, u := range utf16.Encode([]rune(string(b))) {
				out = append(out, byte(u>>8), byte(u))
			}
			return out
		},
		"form":        func(b []byte) []byte { return []byte(url.Values{"password": {string(b)}}.Encode()) },
		"path":        func(b []byte) []byte { return []byte((&url.URL{Path: string(b)}).EscapedPath()) },
		"form in URL": func(b []byte) []byte { return []byte(url.QueryEscape(url.Values{"p": {string(b)}}.Encode())) },
		"%q":          func(b []byte) []byte { return fmt.Appendf(nil, "%q", b) },
		"JSON":        func(b []byte) []byte { j, _ := json.Marshal(string(b)); return j },
		"reversed": func(b []byte) []byte {
			out := slices.Clone(b)
			slices.Reverse(out)
			return out
		},
		"words of 4": func(b []byte) []byte {
			out := slices.Clone(b)
			for i := 0; i+4 <= len(out); i += 4 {
				out[i], out[i+1], out[i+2], out[i+3] = out[i+3], out[i+2], out[i+1], out[i]
			}
			return out
		},
		"first half":  func(b []byte) []byte { return b[:len(b)/2+1] },
		"second half": func(b []byte) []byte { return b[len(b)/2-1:] },
	}
	for name, secret := range map[string][]byte{"binary": binarySecret, "text": text} {
		var set canary.Set
		set.Add("canary", secret)
		set.AddString("bystander", "something else altogether")
		require.Equal(t, []string{"canary", "bystander"}, set.Names())
		for how, plant := range plantings {
			if name == "binary" && (how == "JWT" || how == "UTF-16" || how == "big-endian UTF-16" || how == "path") {
				continue // only text is written like this
			}
			t.Run(name+" "+how, func(t *testing.T) {
				planted := slices.Concat(noise(1, 1001), plant(slices.Clone(secret)), noise(2, 500))
				found := set.Search(planted)
				require.NotEmpty(t, found, "%q", plant(secret))
				for _, f := range found {
					require.Equal(t, "canary", f.Name)
					require.GreaterOrEqual(t, f.Offset, 1001)
					require.Contains(t, canary.Forms(), f.Form)
					require.False(t, bytes.Contains([]byte(f.String()), secret))
				}
			})
		}
	}
}

func TestNothingPlanted(t *testing.T) {
	var set canary.Set
	for i := range 100 {
		set.Add(fmt.Sprint(i), noise(uint64(100+i), 40))
	}
	require.Empty(t, set.Search(noise(3, 4<<20)))
	require.Empty(t, set.Search(nil))
	require.Panics(t, func() { set.AddString("short", "123456") }, "found by chance")
}

// A set that lies in the bytes that are searched is not found itself.
func TestSetIsMasked(t *testing.T) {
	var set canary.Set
	set.AddString("canary", "a-secret-of-some-length")
	require.NotContains(t, fmt.Sprintf("%s %v", set.Names(), set.Search([]byte("a-secret-of-some-length"))), "a-secret")
	require.Greater(t, set.Longest(), 40)
}
