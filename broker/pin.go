package broker

import (
	"errors"
	"strconv"
)

// PINRules are the rules for the PIN of a new Hello key. They are checked where
// a PIN is set, never where it is entered. The zero value is the Windows
// default: six characters, and no pattern.
//
// Whatever the rules, a PIN has 4 to 127 printable ASCII characters.
type PINRules struct {
	// MinLength is the least number of characters, 4 to 127. Zero: 6.
	MinLength int
	// Letters requires a letter besides the digits.
	Letters bool
}

// Limits of a PIN whatever the rules, as Windows has them (the Windows Hello
// for Business policy settings "Minimum PIN length" and "Maximum PIN length").
const (
	minPIN     = 4
	maxPIN     = 127
	defaultPIN = 6
)

func (r PINRules) check() error {
	if r.MinLength != 0 && (r.MinLength < minPIN || r.MinLength > maxPIN) {
		return errors.New("broker: Config.PIN.MinLength is neither 0 nor 4 to 127")
	}
	return nil
}

// refuse returns why the rules reject a new PIN; nil when they accept it.
func (r PINRules) refuse(pin PIN) error {
	if err := pin.wellFormed(); err != nil {
		return err
	}
	least := r.MinLength
	if least == 0 {
		least = defaultPIN
	}
	switch digits, letters := pin.count(); {
	case len(pin) < least:
		return pinRule("the PIN has fewer than " + strconv.Itoa(least) + " characters")
	case r.Letters && letters == 0:
		return pinRule("the PIN needs a letter")
	case digits == len(pin) && pin.pattern():
		return pinRule("the PIN is a pattern: each digit follows from the one before in the same way")
	}
	return nil
}

func pinRule(detail string) error { return &Error{kind: ErrPINRules, detail: detail} }

// wellFormed rejects what cannot be a PIN, before it costs a try: anything but
// 4 to 127 printable ASCII characters. Other characters have several encodings,
// and a keyboard with another layout would lock the user out.
func (p PIN) wellFormed() error {
	if len(p) < minPIN || len(p) > maxPIN {
		return pinRule("a PIN has " + strconv.Itoa(minPIN) + " to " + strconv.Itoa(maxPIN) + " characters")
	}
	for _, c := range p {
		if c < ' ' || c > '~' {
			return pinRule("a PIN may contain only printable ASCII characters")
		}
	}
	return nil
}

// possible rejects a PIN that cannot have been set: it is wrong, costs no try
// and does not reach the key store.
func (p PIN) possible() error {
	if err := p.wellFormed(); err != nil {
		return &Error{kind: ErrWrongPIN, detail: err.(*Error).detail}
	}
	return nil
}

func (p PIN) count() (digits, letters int) {
	for _, c := range p {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			letters++
		}
	}
	return digits, letters
}

// pattern reports whether all digits are the same step apart, modulo ten:
// 1111, 1234, 1357, 9630. Windows refuses the same ones (the Windows Hello for
// Business FAQ, on simple PINs).
func (p PIN) pattern() bool {
	step := (p[1] + 10 - p[0]) % 10
	for i := 2; i < len(p); i++ {
		if (p[i]+10-p[i-1])%10 != step {
			return false
		}
	}
	return true
}
