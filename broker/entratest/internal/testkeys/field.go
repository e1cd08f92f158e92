package testkeys

import (
	"encoding/binary"
	"math/big"
	"math/bits"
)

// limbs are a number of 128 bits, the lower half first.
type limbs [2]uint64

func limbsOf(n *big.Int) limbs {
	var b [16]byte
	n.FillBytes(b[:])
	return limbs{binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[:8])}
}

func (x limbs) into(n *big.Int) {
	var b [16]byte
	binary.BigEndian.PutUint64(b[8:], x[0])
	binary.BigEndian.PutUint64(b[:8], x[1])
	n.SetBytes(b[:])
}

// A field computes modulo an odd number of 128 bits, in Montgomery's form: a number x
// stands as x·2¹²⁸. The time depends on the numbers, since there is nothing to hide.
type field struct {
	p       limbs
	inverse uint64 // -p⁻¹ modulo 2⁶⁴
	one     limbs  // 2¹²⁸ modulo p
	square  limbs  // 2²⁵⁶ modulo p
}

func newField(p *big.Int) field {
	f := field{p: limbsOf(p)}
	inverse := f.p[0] // right in its lowest three bits; each step doubles them (Newton)
	for range 5 {
		inverse *= 2 - f.p[0]*inverse
	}
	f.inverse = -inverse
	r := new(big.Int).Lsh(big.NewInt(1), 128)
	f.one = limbsOf(new(big.Int).Mod(r, p))
	f.square = limbsOf(new(big.Int).Mod(new(big.Int).Mul(r, r), p))
	return f
}

// mul returns x·y/2¹²⁸ modulo p (Montgomery multiplication, the limbs of y one by one).
func (f *field) mul(x, y limbs) limbs {
	t0, t1, t2 := f.step(x, y[0], 0, 0, 0)
	t0, t1, t2 = f.step(x, y[1], t0, t1, t2)
	d0, borrow := bits.Sub64(t0, f.p[0], 0)
	d1, borrow := bits.Sub64(t1, f.p[1], borrow)
	if t2 < borrow {
		return limbs{t0, t1}
	}
	return limbs{d0, d1}
}

// step returns (t + x·y + m·p)/2⁶⁴ with the m for which that is whole.
func (f *field) step(x limbs, y, t0, t1, t2 uint64) (uint64, uint64, uint64) {
	t0, carry := mulAdd(x[0], y, t0, 0)
	t1, carry = mulAdd(x[1], y, t1, carry)
	t2, top := bits.Add64(t2, carry, 0)
	m := t0 * f.inverse
	_, carry = mulAdd(m, f.p[0], t0, 0)
	t1, carry = mulAdd(m, f.p[1], t1, carry)
	t2, carry = bits.Add64(t2, carry, 0)
	return t1, t2, top + carry
}

// mulAdd returns x·y + z + carry.
func mulAdd(x, y, z, carry uint64) (lo, hi uint64) {
	hi, lo = bits.Mul64(x, y)
	lo, c := bits.Add64(lo, z, 0)
	hi += c
	lo, c = bits.Add64(lo, carry, 0)
	return lo, hi + c
}

// exp returns x to the power of e modulo p, for x below p, four bits of e at a time.
func (f *field) exp(x, e limbs) limbs {
	var powers [16]limbs
	powers[0], powers[1] = f.one, f.mul(x, f.square)
	for i := 2; i < len(powers); i++ {
		powers[i] = f.mul(powers[i-1], powers[1])
	}
	z := f.one
	for i := 31; i >= 0; i-- {
		for range 4 {
			z = f.mul(z, z)
		}
		z = f.mul(z, powers[e[i/16]>>(i%16*4)&15])
	}
	return f.mul(z, limbs{1})
}
