package broker

import "context"

// span reports an operation to the tracer, if there is one.
func (c *Config) span(ctx context.Context, operation string) (context.Context, func(error)) {
	return startSpan(ctx, c.Tracer, operation)
}

func startSpan(ctx context.Context, t Tracer, operation string) (context.Context, func(error)) {
	if t == nil {
		return ctx, func(error) {}
	}
	return t.Start(ctx, operation)
}
