package policy

// A block is one bit for each of 256 policies, which is more than a tenant may
// have. Larger sets are evaluated block by block, so that no set needs memory
// from the heap.
type block [4]uint64

const blockSize = 256

func (b *block) set(i int)         { b[i>>6&3] |= 1 << (i & 63) }
func (b *block) has(i int) bool    { return b[i>>6&3]>>(i&63)&1 != 0 }
func (b block) and(o *block) block { return block{b[0] & o[0], b[1] & o[1], b[2] & o[2], b[3] & o[3]} }
func (b block) andNot(o *block) block {
	return block{b[0] &^ o[0], b[1] &^ o[1], b[2] &^ o[2], b[3] &^ o[3]}
}
func (b *block) or(o *block) { b[0] |= o[0]; b[1] |= o[1]; b[2] |= o[2]; b[3] |= o[3] }

// A row is one bit for each policy of a Set.
type row []block

func newRow(blocks int) row  { return make(row, blocks) }
func (r row) set(i int)      { r[i/blockSize].set(i % blockSize) }
func (r row) has(i int) bool { return r[i/blockSize].has(i % blockSize) }
func (r row) put(i int, v bool) {
	if v {
		r.set(i)
	}
}
func (r row) or(o row) {
	for i := range r {
		r[i].or(&o[i])
	}
}
func (r row) and(o row) {
	for i := range r {
		r[i] = r[i].and(&o[i])
	}
}
func (r row) andNot(o row) {
	for i := range r {
		r[i] = r[i].andNot(&o[i])
	}
}
func (r row) clone() row { return append(row(nil), r...) }

// A matrix holds a row for each value of a dimension, one after the other.
type matrix struct {
	blocks int
	cells  []block
}

func newMatrix(values, blocks int) matrix {
	return matrix{blocks, make([]block, values*blocks)}
}

func (m *matrix) row(v int) row { return m.cells[v*m.blocks : (v+1)*m.blocks : (v+1)*m.blocks] }

// add appends an empty row and returns its number.
func (m *matrix) add() int {
	n := len(m.cells) / m.blocks
	m.cells = append(m.cells, make([]block, m.blocks)...)
	return n
}

// A pair is the policies that a value includes and those that it excludes.
// Dimensions in which a sign-in has several values need both: exclusion wins
// only after all inclusions are known.
type pair struct{ inc, exc row }

// pairs is a matrix of pairs: number v is rows 2v and 2v+1, one cache line in a
// set of one block.
type pairs struct{ matrix }

func newPairs(values, blocks int) pairs { return pairs{newMatrix(2*values, blocks)} }

func (p *pairs) at(v int) pair { return pair{p.row(2 * v), p.row(2*v + 1)} }

func (p *pairs) add() int {
	n := p.matrix.add() / 2
	p.matrix.add()
	return n
}

// run is the part of row v that n blocks from first on make up.
func (m *matrix) run(v, first, n int) []block {
	at := v*m.blocks + first
	return m.cells[at : at+n : at+n]
}
