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

// A field computes modulo an odd number of 128 bits in Montgomery form: a number x is
// represented as x·2¹²⁸. It is not constant-time, since the keys are not secret.
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

// mul returns x·y/2¹²⁸ modulo p by Montgomery multiplication: for each limb of y it
// adds a multiple of p that makes the lowest limb zero, and drops that limb.
func (f *field) mul(x, y limbs) limbs {
	p0, p1 := f.p[0], f.p[1]

	hi, t0 := bits.Mul64(x[0], y[0])
	t2, t1 := bits.Mul64(x[1], y[0])
	t1, c := bits.Add64(t1, hi, 0)
	t2 += c

	m := t0 * f.inverse
	hi, lo := bits.Mul64(m, p0)
	_, c = bits.Add64(t0, lo, 0)
	carry := hi + c
	hi, lo = bits.Mul64(m, p1)
	lo, c = bits.Add64(lo, carry, 0)
	hi += c
	t0, c = bits.Add64(t1, lo, 0)
	t1, t2 = bits.Add64(t2, hi, c)

	hi, lo = bits.Mul64(x[0], y[1])
	t0, c = bits.Add64(t0, lo, 0)
	carry = hi + c
	hi, lo = bits.Mul64(x[1], y[1])
	lo, c = bits.Add64(lo, carry, 0)
	hi += c
	t1, c = bits.Add64(t1, lo, 0)
	t2, top := bits.Add64(t2, hi, c)

	m = t0 * f.inverse
	hi, lo = bits.Mul64(m, p0)
	_, c = bits.Add64(t0, lo, 0)
	carry = hi + c
	hi, lo = bits.Mul64(m, p1)
	lo, c = bits.Add64(lo, carry, 0)
	hi += c
	t0, c = bits.Add64(t1, lo, 0)
	t1, c = bits.Add64(t2, hi, c)
	top += c

	d0, c := bits.Sub64(t0, p0, 0)
	d1, c := bits.Sub64(t1, p1, c)
	if top < c {
		return limbs{t0, t1}
	}
	return limbs{d0, d1}
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
