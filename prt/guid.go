package prt

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
)

// A GUID is a GUID in Microsoft's byte order, as certificate extensions hold
// it (MS-DTYP 2.3.4.2): the first three fields little-endian, the last eight
// bytes as they are written.
type GUID [16]byte

// ParseGUID reads the 36-character form, in either case.
func ParseGUID(s string) (g GUID, err error) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return g, badReply("not a GUID")
	}
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != len(g) {
		return g, badReply("not a GUID")
	}
	return GUID(b).swapped(), nil
}

// swapped changes between the byte order of the text and Microsoft's.
func (g GUID) swapped() GUID {
	g[0], g[1], g[2], g[3] = g[3], g[2], g[1], g[0]
	g[4], g[5] = g[5], g[4]
	g[6], g[7] = g[7], g[6]
	return g
}

// String returns the 36-character form, lower case.
func (g GUID) String() string {
	t := g.swapped()
	s := hex.EncodeToString(t[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// sidPrefix begins the SIDs that Entra makes of object ids.
const sidPrefix = "S-1-12-1-"

// SID returns the SID of the object with this id: S-1-12-1 and the four
// little-endian words of the GUID.
func (g GUID) SID() string {
	b := []byte(sidPrefix)
	for i := 0; i < len(g); i += 4 {
		if i > 0 {
			b = append(b, '-')
		}
		b = strconv.AppendUint(b, uint64(binary.LittleEndian.Uint32(g[i:])), 10)
	}
	return string(b)
}

// ParseSID returns the object id of an Entra SID, or an error for any other
// SID.
func ParseSID(s string) (g GUID, err error) {
	rest, ok := strings.CutPrefix(s, sidPrefix)
	words := strings.Split(rest, "-")
	if !ok || len(words) != 4 {
		return g, badReply("not an Entra SID")
	}
	for i, w := range words {
		n, err := strconv.ParseUint(w, 10, 32)
		if err != nil || strconv.FormatUint(n, 10) != w {
			return GUID{}, badReply("not an Entra SID")
		}
		binary.LittleEndian.PutUint32(g[4*i:], uint32(n))
	}
	return g, nil
}
