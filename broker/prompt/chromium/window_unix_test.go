//go:build unix

package chromium

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A browser that reads nothing keeps neither a call nor the window's end.
func TestBrowserThatDoesNotRead(t *testing.T) {
	w, err := openWindow(t.Context(), "/bin/sleep", []string{"100"})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	blocked := make(chan error, 1)
	go func() {
		blocked <- w.call(ctx, "", "Page.navigate", navigation{strings.Repeat("x", 1<<20)}, nil) // more than a pipe holds
	}()
	for len(blocked) == 0 && w.writing.TryLock() { // until the writer has it
		w.writing.Unlock()
	}
	w.close()
	require.ErrorIs(t, <-blocked, errClosed)
}
