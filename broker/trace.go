package broker

import "context"

// span reports an operation to the tracer, if there is one.
func (c *Config) span(ctx context.Context, operation string) (context.Context, func(error)) {
	if c.Tracer == nil {
		return ctx, func(error) {}
	}
	return c.Tracer.Start(ctx, operation)
}
