package broker

import (
	"context"
	"time"
)

// SetSleep replaces how b waits between tries.
func SetSleep(b *Broker, f func(context.Context, time.Duration) error) { b.sleep = f }
