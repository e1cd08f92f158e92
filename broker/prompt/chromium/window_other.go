//go:build !unix

package chromium

import (
	"context"
	"errors"
)

const (
	pipes        = false // a child gets no descriptors 3 and 4 here
	needsDisplay = false
)

type window struct{ *conn }

func openWindow(context.Context, string, []string) (*window, error) {
	return nil, errors.ErrUnsupported
}

func (w *window) close() {}
