package tpm_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
)

// An error shows what is known and nothing else.
func TestPINErrorTexts(t *testing.T) {
	for want, err := range map[string]error{
		"tpm: wrong PIN":                                        &tpm.WrongPINError{TriesLeft: -1},
		"tpm: wrong PIN, 0 tries left":                          &tpm.WrongPINError{TriesLeft: 0},
		"tpm: wrong PIN, 2 tries left":                          &tpm.WrongPINError{TriesLeft: 2},
		"tpm: locked out after wrong PINs":                      &tpm.LockedOutError{},
		"tpm: locked out after wrong PINs, try again in 16m40s": &tpm.LockedOutError{RetryAfter: 1000 * time.Second},
	} {
		require.EqualError(t, err, want)
	}
}
