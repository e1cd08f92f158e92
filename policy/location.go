package policy

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Well-known named locations.
const (
	trustedIPsID       = "00000000-0000-0000-0000-000000000000" // multifactor authentication trusted IPs
	compliantNetworkID = "3d46dbda-8382-466a-856d-eb00cbc6b910" // all compliant network locations
)

// A span is an inclusive range of addresses and the location that it lies in.
type span struct {
	first, last netip.Addr
	location    int
}

// A regions table cuts the address space where any range begins or ends. In
// each region the set of locations is the same, so that a region needs only one
// number, and an address one binary search however many locations overlap.
type regions struct {
	v4     []uint32 // first addresses, ascending; the first is 0
	v4Set  []uint32 // by region: number of the location set
	v6     []addr128
	v6Set  []uint32
	index4 []uint32 // by the high 12 bits of an address: the last region that begins at or before
}

type addr128 struct{ hi, lo uint64 }

func (a addr128) compare(b addr128) int {
	if c := cmp.Compare(a.hi, b.hi); c != 0 {
		return c
	}
	return cmp.Compare(a.lo, b.lo)
}

func (a addr128) next() (addr128, bool) {
	a.lo++
	if a.lo == 0 {
		a.hi++
	}
	return a, a != addr128{}
}

func split(a netip.Addr) addr128 {
	b := a.As16()
	return addr128{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// newRegions builds the table. number is called with the ascending location
// numbers of each region and returns the number of that set.
func newRegions(spans []span, number func(locations []int) uint32) *regions {
	var v4, v6 []edge
	for _, s := range spans {
		first, last := s.first, s.last
		if first.Is4() {
			v4 = appendEdges(v4, addr128{lo: uint64(v4bits(first))}, addr128{lo: uint64(v4bits(last))}, s.location)
		} else {
			v6 = appendEdges(v6, split(first), split(last), s.location)
		}
	}
	t := &regions{}
	starts, sets := sweep(v4, number)
	for i, s := range starts {
		if s.lo > 1<<32-1 {
			continue // after the last address
		}
		t.v4, t.v4Set = append(t.v4, uint32(s.lo)), append(t.v4Set, sets[i])
	}
	t.v6, t.v6Set = sweep(v6, number)
	t.index4 = make([]uint32, 1<<12+1)
	r := uint32(0)
	for h := range t.index4 {
		first := uint64(h) << 20
		for int(r)+1 < len(t.v4) && uint64(t.v4[r+1]) <= first {
			r++
		}
		t.index4[h] = r
	}
	return t
}

func v4bits(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// An edge is where a range begins, or the first address after its end.
type edge struct {
	at       addr128
	location int
	delta    int
}

func appendEdges(es []edge, first, last addr128, location int) []edge {
	es = append(es, edge{first, location, 1})
	if end, ok := last.next(); ok {
		es = append(es, edge{end, location, -1})
	}
	return es
}

func sweep(es []edge, number func([]int) uint32) (starts []addr128, sets []uint32) {
	slices.SortFunc(es, func(a, b edge) int { return a.at.compare(b.at) })
	depth := map[int]int{}
	var active []int
	starts, sets = []addr128{{}}, []uint32{number(nil)}
	for i := 0; i < len(es); {
		at := es[i].at
		for ; i < len(es) && es[i].at == at; i++ {
			l := es[i].location
			depth[l] += es[i].delta
			active = track(active, l, depth[l] > 0)
		}
		set := number(active)
		switch last := len(sets) - 1; {
		case starts[last] == at:
			sets[last] = set
		case sets[last] != set:
			starts, sets = append(starts, at), append(sets, set)
		}
	}
	return starts, sets
}

func track(active []int, l int, in bool) []int {
	i, found := slices.BinarySearch(active, l)
	switch {
	case in && !found:
		return slices.Insert(active, i, l)
	case !in && found:
		return slices.Delete(active, i, i+1)
	}
	return active
}

// find returns the number of the location set that an address lies in; that
// of the empty set is asked for with an invalid address. IPv4-mapped IPv6
// addresses are IPv4 addresses.
func (t *regions) find(a netip.Addr) (set uint32, ok bool) {
	if a.Is4() || a.Is4In6() {
		return t.v4Set[t.find4(v4bits(a))], true
	}
	if !a.IsValid() {
		return 0, false
	}
	x := split(a)
	i, found := slices.BinarySearchFunc(t.v6, x, addr128.compare)
	if !found {
		i--
	}
	return t.v6Set[i], true
}

func (t *regions) find4(x uint32) int {
	h := x >> 20
	lo, hi := int(t.index4[h]), int(t.index4[h+1])+1
	for hi-lo > 1 {
		m := int(uint(lo+hi) >> 1)
		if t.v4[m] <= x {
			lo = m
		} else {
			hi = m
		}
	}
	return lo
}

// parseRange reads a CIDR, whose host bits it masks, or "lower-upper".
func parseRange(s string) (first, last netip.Addr, err error) {
	s = strings.TrimSpace(s)
	if lo, up, ok := strings.Cut(s, "-"); ok {
		first, err = netip.ParseAddr(strings.TrimSpace(lo))
		if err == nil {
			last, err = netip.ParseAddr(strings.TrimSpace(up))
		}
		first, last = first.Unmap().WithZone(""), last.Unmap().WithZone("")
		if err == nil && (first.BitLen() != last.BitLen() || last.Less(first)) {
			err = errors.New("the range ends before it begins")
		}
		return first, last, err
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return first, last, fmt.Errorf("%q is neither a CIDR nor an address", s)
		}
		a = a.Unmap().WithZone("")
		return a, a, nil
	}
	return prefixRange(p)
}

func prefixRange(p netip.Prefix) (first, last netip.Addr, err error) {
	if a := p.Addr(); a.Is4In6() {
		if p.Bits() < 96 {
			return first, last, errors.New("a mapped IPv4 prefix is shorter than 96 bits")
		}
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	p = p.Masked()
	first = p.Addr()
	b := first.As16()
	host := first.BitLen() - p.Bits()
	for i := 15; host > 0; i-- {
		b[i] |= byte(1<<min(host, 8) - 1)
		host -= 8
	}
	last = netip.AddrFrom16(b)
	if first.Is4() {
		last = last.Unmap()
	}
	return first, last, nil
}

// countryIndex numbers the two-letter codes; ok is false for anything else.
func countryIndex(code string) (i int, ok bool) {
	if len(code) != 2 {
		return 0, false
	}
	a, b := lowerByte(code[0])-'a', lowerByte(code[1])-'a'
	return int(a)*26 + int(b), a < 26 && b < 26
}

const countries = 26 * 26

func hostBits(cidr string) bool {
	p, err := netip.ParsePrefix(strings.TrimSpace(cidr))
	return err == nil && p.Masked().Addr() != p.Addr()
}
