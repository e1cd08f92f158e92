package sts

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"strconv"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// testClient is a client of the public cloud over a transport. It waits in no
// time.
func testClient(t testing.TB, transport Transport) *Client {
	t.Helper()
	now := noon
	c := New(Config{
		Transport: transport,
		UserAgent: "test",
		Cloud:     Public,
		Movable:   true,
		Logger:    slog.New(slog.DiscardHandler),
		Now:       func() time.Time { return now },
		Rand:      rand.Reader,
		Span:      func(ctx context.Context, _ string) (context.Context, func(error)) { return ctx, func(error) {} },
	})
	c.Wait = func(ctx context.Context, d time.Duration) error { // moves the clock instead
		now = now.Add(d)
		return ctx.Err()
	}
	t.Cleanup(c.Close)
	return c
}

func itoa(n int) string { return strconv.Itoa(n) }

func textLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
