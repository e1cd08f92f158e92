package tpm

import (
	"errors"
	"fmt"
)

// Check refuses a spec that no store can serve.
func (s KeySpec) Check() error {
	switch {
	case s.Purpose != Sign && s.Purpose != Unwrap:
		return fmt.Errorf("tpm: key purpose %d is neither Sign nor Unwrap", s.Purpose)
	case s.Algorithm != RSA2048 && s.Algorithm != P256:
		return fmt.Errorf("tpm: key algorithm %d is neither RSA2048 nor P256", s.Algorithm)
	case s.Purpose == Unwrap && s.Algorithm != RSA2048:
		return errors.New("tpm: a transport key must be RSA2048")
	case s.Purpose == Unwrap && s.PIN != nil:
		return errors.New("tpm: a transport key cannot have a PIN")
	case s.PIN != nil && len(s.PIN) == 0:
		return errors.New("tpm: the PIN is empty; leave KeySpec.PIN nil for none")
	}
	return nil
}
