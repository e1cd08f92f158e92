package policy

import (
	"fmt"
	"slices"
)

// locationTable decides the location condition. A sign-in lies in many named
// locations at once; each way of knowing gives a pair, and the pairs are ORed.
type locationTable struct {
	regions   *regions
	sets      pairs    // by number of a location set; 0 is that of no location
	byCountry []uint32 // by country of the address, then unknown: its set
	byGPS     []uint32
	network   uint32  // set of the compliant network locations
	members   [][]int // by number of a location set: its places
	places    []place
	bySymbol  map[uint32]int // places by the symbol of their id
}

// A place is a named location that policies may refer to.
type place struct {
	NamedLocation
	spans   []span
	bad     string // why it cannot be evaluated
	trusted bool
	pair           // policies that list it, filled at seal
	set     uint32 // location set of this place alone
}

const unknownPlace = countries // number of the unknown country

func isAllTrusted(s string) bool { return equalASCII(s, "AllTrusted") }

func (c *compiler) collectLocations() {
	t := &c.locations
	t.bySymbol = map[uint32]int{}
	trustedIPs := &NamedLocation{Kind: IPLocation, ID: trustedIPsID, IsTrusted: true}
	for _, p := range c.opt.trustedIPs {
		trustedIPs.Ranges = append(trustedIPs.Ranges, p.String())
	}
	if c.opt.trusted { // before the bundle: the option counts
		c.wellKnownPlace(trustedIPs)
	}
	for i := range c.bundle.Locations {
		l := &c.bundle.Locations[i]
		at := l.Source.or("locations", i)
		sym := c.ids.intern(l.key())
		if _, dup := t.bySymbol[sym]; dup {
			c.report(at, problem{severity: SeverityWarning, code: CodeDuplicate, message: "a location of this id was there before: the first one counts"}, "")
			continue
		}
		p := newPlace(l)
		if p.bad != "" {
			c.report(at, problem{severity: SeverityError, code: CodeBadLocation, message: p.bad}, "")
		}
		if sym != 0 { // a location without a name is only good for AllTrusted
			t.bySymbol[sym] = len(t.places)
		}
		t.places = append(t.places, p)
	}
	c.wellKnownPlace(trustedIPs)
	c.wellKnownPlace(&NamedLocation{Kind: CompliantNetworkLocation, ID: compliantNetworkID})
	for i := range t.places {
		t.places[i].pair = pair{newRow(c.blocks), newRow(c.blocks)}
	}
}

// key is what policies refer to a location by: exports for other tenants
// leave the ids out and use names.
func (l *NamedLocation) key() string {
	if l.ID == "" {
		return l.DisplayName
	}
	return l.ID
}

// wellKnownPlace adds a location that exports refer to and do not hold, unless
// there is one of its id.
func (c *compiler) wellKnownPlace(l *NamedLocation) {
	sym := c.ids.intern(l.ID)
	if _, ok := c.locations.bySymbol[sym]; ok {
		return
	}
	c.locations.bySymbol[sym] = len(c.locations.places)
	c.locations.places = append(c.locations.places, newPlace(l))
}

func newPlace(l *NamedLocation) place {
	p := place{NamedLocation: *l, trusted: l.IsTrusted && l.Kind != CountryLocation}
	switch l.Kind {
	case IPLocation:
		for _, r := range l.Ranges {
			first, last, err := parseRange(r)
			if err != nil {
				p.bad = "range " + err.Error()
				continue
			}
			p.spans = append(p.spans, span{first: first, last: last})
		}
	case CountryLocation:
		for _, code := range l.Countries {
			if _, ok := countryIndex(code); !ok {
				p.bad = fmt.Sprintf("%q is not a country code", code)
			}
		}
		if l.LookupMethod != "" && member([]string{"clientIpAddress", "authenticatorAppGps"}, l.LookupMethod) < 0 {
			p.bad = fmt.Sprintf("unknown lookup method %q", l.LookupMethod)
		}
	case CompliantNetworkLocation, ServiceTagLocation, PrivateLinkLocation:
	default:
		p.bad = fmt.Sprintf("unknown kind of location %q", l.Kind)
	}
	return p
}

func (p *place) gps() bool { return equalASCII(p.LookupMethod, "authenticatorAppGps") }

func (c *compiler) locationRefs(k *checker, path string, ids []string) {
	for i, id := range ids {
		if isAll(id) || isAllTrusted(id) {
			continue
		}
		n, ok := c.locations.bySymbol[c.ids.find(id)]
		switch {
		case !ok || id == "":
			k.add(at(path, i), SeverityError, CodeNoLocation, dimLocations, "the bundle has no named location %q", id)
		case c.locations.places[n].bad != "":
			k.add(at(path, i), SeverityError, CodeBadLocation, dimLocations, "named location %q: %s", id, c.locations.places[n].bad)
		case equalASCII(id, trustedIPsID) && !c.opt.trusted && len(c.locations.places[n].spans) == 0:
			k.add(at(path, i), SeverityWarning, CodeNoLocation, dimNone, "multifactor authentication trusted IPs are not exported: taken for none, see WithTrustedIPs")
		}
	}
}

func (c *compiler) sealLocations() {
	t := &c.locations
	base := pair{newRow(c.blocks), newRow(c.blocks)}
	trusted := pair{newRow(c.blocks), newRow(c.blocks)}
	for i := range c.policies {
		c.location(i, base, trusted)
	}
	b := &setBuilder{table: t, base: base, trusted: trusted, known: map[string]uint32{}}
	t.sets = newPairs(0, c.blocks)
	b.number(nil)
	var spans []span
	for n, p := range t.places {
		for _, s := range p.spans {
			s.location = n
			spans = append(spans, s)
		}
	}
	t.regions = newRegions(spans, b.number)
	for n := range t.places {
		t.places[n].set = b.number([]int{n})
	}
	t.byCountry, t.byGPS = b.byCountry(false), b.byCountry(true)
	t.network = b.number(b.where(func(p *place) bool { return p.Kind == CompliantNetworkLocation }))
}

func (c *compiler) location(i int, base, trusted pair) {
	l := c.policies[i].Conditions.Locations
	if l == nil || len(l.Include) == 0 || c.relaxed[dimLocations].has(i) {
		base.inc.set(i)
	}
	if l == nil || c.relaxed[dimLocations].has(i) {
		return
	}
	for _, list := range [...]struct {
		ids     []string
		exclude bool
	}{{l.Include, false}, {l.Exclude, true}} {
		for _, id := range list.ids {
			switch {
			case isAll(id):
				base.put(i, list.exclude)
			case isAllTrusted(id):
				trusted.put(i, list.exclude)
			default:
				c.locations.places[c.locations.bySymbol[c.ids.find(id)]].put(i, list.exclude)
			}
		}
	}
}

// A setBuilder numbers the distinct sets of places and fills their pairs.
type setBuilder struct {
	table         *locationTable
	base, trusted pair
	known         map[string]uint32
	key           []byte
}

func (b *setBuilder) number(places []int) uint32 {
	b.key = b.key[:0]
	for _, n := range places {
		b.key = append(b.key, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	}
	if n, ok := b.known[string(b.key)]; ok {
		return n
	}
	sets := &b.table.sets
	n := sets.add()
	p := sets.at(n)
	p.orPair(b.base)
	for _, i := range places {
		p.orPair(b.table.places[i].pair)
		if b.table.places[i].trusted {
			p.orPair(b.trusted)
		}
	}
	b.known[string(b.key)] = uint32(n)
	b.table.members = append(b.table.members, slices.Clone(places))
	return uint32(n)
}

func (p pair) orPair(o pair) {
	p.inc.or(o.inc)
	p.exc.or(o.exc)
}

func (b *setBuilder) where(match func(*place) bool) (places []int) {
	for n := range b.table.places {
		if match(&b.table.places[n]) {
			places = append(places, n)
		}
	}
	return places
}

func (b *setBuilder) byCountry(gps bool) []uint32 {
	sets := make([]uint32, countries+1)
	lists := make([][]int, countries+1)
	for n := range b.table.places {
		p := &b.table.places[n]
		if p.Kind != CountryLocation || p.gps() != gps {
			continue
		}
		for _, code := range p.Countries {
			if i, ok := countryIndex(code); ok && !slices.Contains(lists[i], n) {
				lists[i] = append(lists[i], n)
			}
		}
		if p.IncludeUnknown {
			lists[unknownPlace] = append(lists[unknownPlace], n)
		}
	}
	for i, l := range lists {
		sets[i] = b.number(l)
	}
	return sets
}
