package sts

import (
	"context"
	"crypto/rand"
	"log/slog"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// testClient is a client of the public cloud over a transport.
func testClient(t testing.TB, transport Transport) *Client {
	t.Helper()
	c := New(Config{
		Transport: transport,
		UserAgent: "test",
		Cloud:     Public,
		Movable:   true,
		Logger:    slog.New(slog.DiscardHandler),
		Now:       func() time.Time { return noon },
		Rand:      rand.Reader,
		Span:      func(ctx context.Context, _ string) (context.Context, func(error)) { return ctx, func(error) {} },
	})
	c.Wait = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	t.Cleanup(c.Close)
	return c
}
