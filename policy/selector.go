package policy

import "slices"

// A selector decides one multi-valued dimension of conditions, such as users or
// applications: the policies that include everybody, those that mention an id,
// and those that use a rule.
type selector struct {
	blocks  int
	base    pair // what every value gets
	number  []uint32
	posts   [][]posting // by local number: the policies that mention the id
	dense   []line      // the same as rows, in sets of one block
	filters filterTable
	null    pair // base and what the rules give to a value without attributes
}

// A posting is a policy that includes or excludes an id.
type posting struct {
	policy  uint32
	exclude bool
}

func newSelector(blocks int) *selector {
	return &selector{
		blocks:  blocks,
		filters: newFilterTable(blocks),
		base:    pair{newRow(blocks), newRow(blocks)},
		null:    pair{newRow(blocks), newRow(blocks)},
		posts:   make([][]posting, 1),
	}
}

// mention notes that a policy includes or excludes the id of a symbol.
// Policies are given in ascending order.
func (s *selector) mention(sym uint32, policy int, exclude bool) {
	if int(sym) >= len(s.number) {
		s.number = append(s.number, make([]uint32, int(sym)+1-len(s.number))...)
	}
	n := s.number[sym]
	if n == 0 {
		n = uint32(len(s.posts))
		s.number[sym] = n
		s.posts = append(s.posts, nil)
	}
	p, posts := posting{uint32(policy), exclude}, s.posts[n]
	if last := posts[max(0, len(posts)-2):]; !slices.Contains(last, p) {
		s.posts[n] = append(posts, p)
	}
}

func (p pair) put(policy int, exclude bool) {
	if exclude {
		p.exc.set(policy)
	} else {
		p.inc.set(policy)
	}
}

func (s *selector) seal() {
	s.null.inc.or(s.base.inc)
	s.null.exc.or(s.base.exc)
	s.filters.seal(s.blocks)
	s.filters.addTo(nil, &window{inc: s.null.inc, exc: s.null.exc})
	if s.blocks > 1 {
		return
	}
	s.dense = make([]line, len(s.posts))
	for n, posts := range s.posts {
		l := &s.dense[n]
		for _, p := range posts {
			pair{l[:1], l[1:]}.put(int(p.policy), p.exclude)
		}
	}
}

// local returns the selector's own number of a symbol's id, 0 when no policy
// mentions it here.
func (s *selector) local(sym uint32) uint32 {
	if int(sym) < len(s.number) {
		return s.number[sym]
	}
	return 0
}

// A window is a run of blocks of a pair, beginning with block first, that
// facts are gathered into.
type window struct {
	first    int
	inc, exc []block
	line     *line // inc and exc of a set of one block
}

// A line is a pair of one block: a cache line.
type line [2]block

func (l *line) or(o *line) {
	l[0].or(&o[0])
	l[1].or(&o[1])
}

func (w *window) or(p pair) {
	for i := range w.inc {
		w.inc[i].or(&p.inc[w.first+i])
		w.exc[i].or(&p.exc[w.first+i])
	}
}

// add ORs what policies say of the id of a symbol into the window.
func (s *selector) add(sym uint32, w *window) {
	n := s.local(sym)
	if n == 0 {
		return
	}
	if w.line != nil {
		w.line.or(&s.dense[n])
		return
	}
	s.addPosts(n, w)
}

func (s *selector) addPosts(n uint32, w *window) {
	lo, hi := uint32(w.first*blockSize), uint32((w.first+len(w.inc))*blockSize)
	posts := s.posts[n]
	i := 0
	if lo > 0 {
		i, _ = slices.BinarySearchFunc(posts, lo, func(p posting, at uint32) int { return int(p.policy) - int(at) })
	}
	for ; i < len(posts) && posts[i].policy < hi; i++ {
		p := posts[i].policy - lo
		if posts[i].exclude {
			w.exc[p/blockSize].set(int(p % blockSize))
		} else {
			w.inc[p/blockSize].set(int(p % blockSize))
		}
	}
}

// addRules ORs what the rules say of attributes into the window, with what
// every value gets.
func (s *selector) addRules(attrs []Attribute, w *window) {
	if len(attrs) == 0 {
		w.or(s.null)
		return
	}
	w.or(s.base)
	s.filters.addTo(attrs, w)
}
