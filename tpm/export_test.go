package tpm

import "github.com/google/go-tpm/tpm2"

// SRKTemplate is the template of the transient primary.
func SRKTemplate() tpm2.TPMTPublic { return srkTemplate }

// Parent returns the handle of the default parent.
func (t *TPM) Parent() tpm2.TPMHandle { return t.parent.handle }

var (
	AuthValue   = authValue
	UnpadOAEP   = unpadOAEP
	ParsePublic = parsePublic
)
