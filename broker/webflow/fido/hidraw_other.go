//go:build !linux

package fido

import (
	"context"
	"errors"
	"fmt"
)

// USB returns an errors.ErrUnsupported: security keys are found only on Linux.
func USB(context.Context) ([]Device, error) {
	return nil, fmt.Errorf("fido: security keys on USB: %w", errors.ErrUnsupported)
}
