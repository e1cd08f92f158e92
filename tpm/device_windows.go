package tpm

import (
	"context"
	"errors"
	"io/fs"

	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/windowstpm"
)

// Default opens the machine's TPM through the TPM Base Services, whose contexts
// each have slots of their own.
func Default() Opener {
	return Opener{
		Spaces: 2,
		Open:   func(context.Context) (transport.TPMCloser, error) { return windowstpm.Open() },
	}
}

// DeviceFile opens a TPM by its device file. Windows has no such file: use
// [Default].
func DeviceFile(path string, spaces int) Opener {
	return Opener{
		Spaces: spaces,
		Open: func(context.Context) (transport.TPMCloser, error) {
			return nil, &fs.PathError{Op: "open", Path: path, Err: errors.ErrUnsupported}
		},
	}
}
