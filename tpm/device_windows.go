package tpm

import (
	"context"

	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/windowstpm"
)

// Device opens the machine's TPM through the TPM Base Services, whose contexts
// each have slots of their own.
func Device() Opener {
	return Opener{
		Spaces: 2,
		Open:   func(context.Context) (transport.TPMCloser, error) { return windowstpm.Open() },
	}
}
