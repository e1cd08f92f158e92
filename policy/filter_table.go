package policy

// A filterTable holds the policies that include or exclude by rules of the
// filter language. It is cut into windows of windowBlocks blocks, each of which
// lists the rules that its own policies use: a set in which every policy has a
// rule of its own evaluates each rule once, however large it is.
type filterTable struct {
	windows [][]filterRows
	index   map[filterKey]int // place in its window; nil once sealed
}

type filterKey struct {
	window int
	rule   string // canonical
}

// filterRows are the policies of a window that use one rule: as a list, or as
// rows if those are smaller.
type filterRows struct {
	rule  *FilterRule
	posts []posting // numbered from the beginning of the window
	rows  pair      // empty: the list counts
}

func newFilterTable(blocks int) filterTable {
	return filterTable{make([][]filterRows, (blocks+windowBlocks-1)/windowBlocks), map[filterKey]int{}}
}

// add notes that a policy includes or excludes by a rule. Policies are given in
// ascending order.
func (t *filterTable) add(rule *FilterRule, policy int, exclude bool) {
	const size = windowBlocks * blockSize
	key := filterKey{policy / size, rule.String()}
	n, ok := t.index[key]
	if !ok {
		n = len(t.windows[key.window])
		t.index[key] = n
		t.windows[key.window] = append(t.windows[key.window], filterRows{rule: rule})
	}
	f := &t.windows[key.window][n]
	f.posts = append(f.posts, posting{uint32(policy % size), exclude})
}

func (t *filterTable) seal(blocks int) {
	t.index = nil
	for w, list := range t.windows {
		n := min(windowBlocks, blocks-w*windowBlocks)
		for i := range list {
			f := &list[i]
			if len(f.posts) <= 2*n {
				continue
			}
			f.rows = pair{newRow(n), newRow(n)}
			for _, p := range f.posts {
				f.rows.put(int(p.policy), p.exclude)
			}
		}
	}
}

// or adds the policies that include, or those that exclude, to a window's row.
func (f *filterRows) or(dst []block, exclude bool) {
	switch {
	case f.rows.inc == nil:
		for _, p := range f.posts {
			if p.exclude == exclude {
				dst[p.policy/blockSize].set(int(p.policy % blockSize))
			}
		}
	case exclude:
		row(dst).or(f.rows.exc)
	default:
		row(dst).or(f.rows.inc)
	}
}

// addTo adds what the rules say of attributes to w, which begins with a window.
func (t *filterTable) addTo(attrs []Attribute, w *window) {
	at := w.first / windowBlocks
	for from := 0; from < len(w.inc); from += windowBlocks {
		to := min(from+windowBlocks, len(w.inc))
		for i := range t.windows[at] {
			if f := &t.windows[at][i]; f.rule.MatchAttributes(attrs) {
				f.or(w.inc[from:to], false)
				f.or(w.exc[from:to], true)
			}
		}
		at++
	}
}

// of returns the rules that a policy uses.
func (t *filterTable) of(policy int, visit func(rule *FilterRule, exclude bool)) {
	const size = windowBlocks * blockSize
	for i := range t.windows[policy/size] {
		f := &t.windows[policy/size][i]
		for _, p := range f.posts {
			if int(p.policy) == policy%size {
				visit(f.rule, p.exclude)
			}
		}
	}
}
