package kerberos

import (
	"context"
	"encoding/binary"
	"math"
	"time"

	"github.com/prtbroker/prtbroker/prt"
)

// The MIT credential cache, file format version 4 (the MIT Kerberos
// documentation, "Credential cache file format"): big-endian, every string
// and list with a 32-bit length before it.
const ccacheVersion = 0x0504

// MaxCacheSize is the size, in bytes, of the largest credential cache that is
// read.
const MaxCacheSize = 1 << 20

// Cache opens the tickets of a PRT ([prt.Token.TGTs]) and returns them as an MIT
// credential cache, which KRB5CCNAME=FILE:… makes available to programs. The
// ticket of the on-premises domain, if there is one, gives the default
// principal. One derivation a ticket. The file is a secret: mode 0600.
func Cache(ctx context.Context, tgts []prt.TGT, s prt.Session) ([]byte, error) {
	var list []*Ticket
	for _, cloud := range []bool{false, true} {
		for _, g := range tgts {
			if g.Cloud != cloud || !g.Usable() {
				continue
			}
			ticket, err := Open(ctx, g, s)
			if err != nil {
				return nil, err
			}
			list = append(list, ticket)
		}
	}
	return WriteCache(list)
}

// WriteCache returns an MIT credential cache, version 4. The
// client of the first ticket is the default principal.
func WriteCache(tickets []*Ticket) ([]byte, error) {
	if len(tickets) == 0 {
		return nil, badRequest("no tickets")
	}
	b := binary.BigEndian.AppendUint16(nil, ccacheVersion)
	b = binary.BigEndian.AppendUint16(b, 0) // no header fields
	b = appendPrincipal(b, tickets[0].Client)
	for _, t := range tickets {
		if t.KeyType < 1 || t.KeyType > math.MaxUint16 {
			return nil, badRequest("a ticket without a key type")
		}
		b = appendPrincipal(b, t.Client)
		b = appendPrincipal(b, t.Server)
		b = binary.BigEndian.AppendUint16(b, uint16(t.KeyType))
		b = appendData(b, t.Key.Bytes())
		start := t.StartTime
		if start.IsZero() {
			start = t.AuthTime
		}
		for _, at := range []time.Time{t.AuthTime, start, t.EndTime, t.RenewTill} {
			b = binary.BigEndian.AppendUint32(b, cacheTime(at))
		}
		b = append(b, 0) // not a user-to-user ticket
		b = binary.BigEndian.AppendUint32(b, t.Flags)
		b = binary.BigEndian.AppendUint32(b, 0) // no addresses
		b = binary.BigEndian.AppendUint32(b, 0) // no authorization data
		b = appendData(b, t.DER)
		b = appendData(b, nil) // no second ticket
	}
	return b, nil
}

// cacheTime is unsigned since MIT Kerberos 1.16, good until the year 2106.
func cacheTime(t time.Time) uint32 {
	s := t.Unix()
	if s != int64(uint32(s)) { // the zero time too
		return 0
	}
	return uint32(s)
}

func appendData(b, data []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(data))), data...)
}

func appendPrincipal(b []byte, p Principal) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(p.Type))
	b = binary.BigEndian.AppendUint32(b, uint32(len(p.Names)))
	b = appendData(b, []byte(p.Realm))
	for _, n := range p.Names {
		b = appendData(b, []byte(n))
	}
	return b
}

// ReadCache reads an MIT credential cache, version 4. Addresses,
// authorization data, second tickets and configuration entries are skipped.
func ReadCache(b []byte) ([]*Ticket, error) {
	if len(b) > MaxCacheSize {
		return nil, badReply("the credential cache is too large")
	}
	r := cacheReader{rest: b}
	if r.u16() != ccacheVersion {
		return nil, badReply("not a credential cache of version 4")
	}
	r.bytes(uint32(r.u16())) // header fields
	r.principal()            // the default principal
	var list []*Ticket
	for len(r.rest) > 0 {
		if t := r.ticket(); t != nil {
			list = append(list, t)
		}
	}
	if r.bad {
		return nil, badReply("the credential cache is truncated or malformed")
	}
	return list, nil
}

type cacheReader struct {
	rest []byte
	bad  bool
}

func (r *cacheReader) bytes(n uint32) []byte {
	if uint64(n) > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *cacheReader) u16() uint16 {
	if b := r.bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *cacheReader) u32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *cacheReader) data() []byte { return r.bytes(r.u32()) }

func (r *cacheReader) time() time.Time {
	if s := r.u32(); s != 0 {
		return time.Unix(int64(s), 0).UTC()
	}
	return time.Time{}
}

func (r *cacheReader) principal() (p Principal) {
	p.Type = int(r.u32())
	n := r.u32()
	p.Realm = string(r.data())
	if n > maxNames {
		r.bad, r.rest = true, nil
		return p
	}
	for range n {
		p.Names = append(p.Names, string(r.data()))
	}
	return p
}

// list skips addresses or authorization data: a 16-bit type and data each.
func (r *cacheReader) list() {
	for n := r.u32(); n > 0 && !r.bad; n-- {
		r.u16()
		r.data()
	}
}

// configRealm is the realm of entries that hold configuration, not tickets.
const configRealm = "X-CACHECONF:"

func (r *cacheReader) ticket() *Ticket {
	t := &Ticket{Client: r.principal(), Server: r.principal()}
	t.KeyType = int(r.u16())
	t.Key = prt.NewSecret(string(r.data()))
	t.AuthTime, t.StartTime, t.EndTime, t.RenewTill = r.time(), r.time(), r.time(), r.time()
	r.bytes(1)
	t.Flags = r.u32()
	r.list()
	r.list()
	t.DER = append([]byte(nil), r.data()...)
	r.data()
	if r.bad || t.Server.Realm == configRealm {
		return nil
	}
	return t
}
