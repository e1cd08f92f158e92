package tpmtest

import (
	"time"

	"github.com/google/go-tpm/tpm2"
)

// A Chip is a model of how long a TPM takes for its commands. Nothing here was
// measured on a chip by this project. The figures for keys are those of
// wolfTPM's README (benchmarks over SPI, 2026); the others are estimates that
// agree within a third with the traces of himmelblau's issue 1538 (2026-07-21),
// and are rather low. Use them, times counts of commands, for comparisons and
// not as predictions.
type Chip struct {
	Name  string
	costs map[tpm2.TPMCC]time.Duration
	other time.Duration // the bus, and a kernel that polls
}

// Chips are a slow chip (Infineon SLB9670, ST ST33TPHF2X), a middling one
// (SLB9672, ST33KTPM2X) and a TPM in firmware.
var Chips = []Chip{
	chip("slow", 235, 240, 205, 210, 70, 45, 30, 22, 20, 25, 10),
	chip("middling", 66, 110, 85, 90, 40, 25, 18, 12, 12, 14, 6),
	chip("fast", 15, 25, 12, 12, 10, 8, 4, 4, 3, 4, 2),
}

func chip(name string, session, primary, sign, decrypt, load, create, hmac, swap, demand, policySecret, other time.Duration) Chip {
	return Chip{name, map[tpm2.TPMCC]time.Duration{
		tpm2.TPMCCStartAuthSession:   session,
		tpm2.TPMCCCreatePrimary:      primary,
		tpm2.TPMCCSign:               sign,
		tpm2.TPMCCRSADecrypt:         decrypt,
		tpm2.TPMCCLoad:               load,
		tpm2.TPMCCCreate:             create, // of sealed data or a session key; an RSA key takes 0.7 to 4.5 s
		tpm2.TPMCCObjectChangeAuth:   create,
		tpm2.TPMCCHMAC:               hmac,
		tpm2.TPMCCUnseal:             hmac,
		tpm2.TPMCCGetTime:            hmac,
		tpm2.TPMCCContextLoad:        swap,
		tpm2.TPMCCContextSave:        swap,
		tpm2.TPMCCPolicyCounterTimer: demand,
		tpm2.TPMCCPolicySecret:       policySecret,
	}, other}
}

// Time is how long the chip takes for commands, as counted by a [Counting]
// between the chip and its user.
func (c Chip) Time(commands []tpm2.TPMCC) (total time.Duration) {
	for _, cc := range commands {
		ms, ok := c.costs[cc]
		if !ok {
			ms = c.other
		}
		total += ms * time.Millisecond
	}
	return total
}
