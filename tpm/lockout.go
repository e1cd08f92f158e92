package tpm

import (
	"context"
	"time"

	"github.com/google/go-tpm/tpm2"
)

// A Lockout is the TPM's count of wrong PINs, over all its keys and users (TCG
// TPM 2.0 Library, Part 1, "Dictionary Attack Protection").
type Lockout struct {
	// WrongPINs is how many it has counted; a power loss while a key with a PIN
	// was in use counts as one. At MaxWrongPINs the TPM is locked.
	WrongPINs    int
	MaxWrongPINs int
	// Forgets is the time after which the TPM forgets one wrong PIN. Zero: it
	// forgets none, and only its administrator can end a lockout.
	Forgets time.Duration
	Locked  bool
}

// inLockout is the bit of TPMA_PERMANENT (Part 2, 8.6).
const inLockout = 1 << 9

// Lockout asks the TPM for its count of wrong PINs. It sends two commands.
func (t *TPM) Lockout(ctx context.Context) (Lockout, error) {
	l, err := do(ctx, t.keys, func() (Lockout, error) {
		p, err := tpmProperties(t.keys, tpm2.TPMPTLockoutCounter, 3)
		if err != nil {
			return Lockout{}, err
		}
		permanent, err := tpmProperties(t.keys, tpm2.TPMPTPermanent, 1)
		if err != nil {
			return Lockout{}, err
		}
		return Lockout{
			WrongPINs:    int(p[tpm2.TPMPTLockoutCounter]),
			MaxWrongPINs: int(p[tpm2.TPMPTMaxAuthFail]),
			Forgets:      time.Duration(p[tpm2.TPMPTLockoutInterval]) * time.Second,
			Locked:       permanent[tpm2.TPMPTPermanent]&inLockout != 0,
		}, nil
	})
	if err != nil {
		return Lockout{}, failed("reading the lockout", err)
	}
	return l, nil
}
