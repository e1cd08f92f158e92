package broker

import (
	"context"
	"time"
)

// SetSleep replaces how b waits between tries.
func SetSleep(b *Broker, f func(context.Context, time.Duration) error) { b.sleep = f }

// WaitBackground waits for the work in the background that b has begun.
func WaitBackground(b *Broker) { b.background.Wait() }
