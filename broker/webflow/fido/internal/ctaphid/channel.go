package ctaphid

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"time"
)

// How long a key may take to hand out a channel, and how long a busy one is left
// alone before it is asked again.
const (
	openTimeout = 3 * time.Second
	busyPause   = 100 * time.Millisecond
)

// Open gets a channel from a key. Each Read and Write of rw moves one report. The
// channel's Close closes rw, and so does a failed Open; closing rw must make a
// waiting Read return.
func Open(ctx context.Context, rw io.ReadWriteCloser) (*Channel, error) {
	c := &Channel{device: newDevice(rw), id: broadcast}
	for {
		err := c.init(ctx)
		if errors.Is(err, ErrorBusy) {
			err = pause(ctx)
			if err == nil {
				continue
			}
		}
		if err != nil {
			c.Close()
			return nil, err
		}
		return c, nil
	}
}

// pause waits before a busy key is asked again.
func pause(ctx context.Context) error {
	t := time.NewTimer(busyPause)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// init asks for a channel, for at most openTimeout.
func (c *Channel) init(ctx context.Context) error {
	soon, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	err := c.ask(soon)
	if err != nil && soon.Err() != nil && ctx.Err() == nil {
		return ErrSilent
	}
	return err
}

// ask asks for a channel (11.2.9.1.3). Answers with another nonce belong to another
// program.
func (c *Channel) ask(ctx context.Context) error {
	nonce := make([]byte, 8)
	_, _ = rand.Read(nonce) // it never fails
	if err := c.device.send(ctx, c.id, CommandInit, nonce); err != nil {
		return err
	}
	for {
		command, reply, err := c.device.receive(ctx, c.id)
		switch {
		case err != nil:
			return err
		case command == commandError && len(reply) == 1:
			return Error(reply[0])
		case command != CommandInit || len(reply) < 8 || !bytes.Equal(reply[:8], nonce):
			continue
		case len(reply) < 17:
			return ErrMalformed
		}
		c.id, c.Capabilities = binary.BigEndian.Uint32(reply[8:]), reply[16]
		if c.id == broadcast || c.id == 0 {
			return ErrMalformed
		}
		return nil
	}
}

// Call sends a command and returns what the key answers. waiting, if not nil, is
// called with each status that the key reports in the meantime. When the context
// ends, the key is told to stop and the channel is closed.
func (c *Channel) Call(ctx context.Context, command byte, message []byte, waiting func(status byte) error) ([]byte, error) {
	for {
		reply, err := c.call(ctx, command, message, waiting)
		if !errors.Is(err, ErrorBusy) {
			return reply, err
		}
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}

func (c *Channel) call(ctx context.Context, command byte, message []byte, waiting func(status byte) error) ([]byte, error) {
	if err := c.device.send(ctx, c.id, command, message); err != nil {
		return nil, err
	}
	for {
		got, reply, err := c.device.receive(ctx, c.id)
		switch {
		case err != nil && ctx.Err() != nil:
			c.cancel()
			return nil, ctx.Err()
		case err != nil:
			return nil, err
		case got == commandKeepAlive && len(reply) == 1:
			if waiting == nil {
				continue
			}
			if err := waiting(reply[0]); err != nil {
				c.cancel()
				return nil, err
			}
		case got == commandError && len(reply) == 1:
			return nil, Error(reply[0])
		case got == command:
			return reply, nil
		default:
			return nil, ErrMalformed
		}
	}
}

// cancel tells the key to stop, and then closes the channel. It waits for neither,
// since the key may not respond.
func (c *Channel) cancel() {
	if c.cancelled.Swap(true) {
		return
	}
	go func() {
		defer c.device.close()
		ctx, done := context.WithTimeout(context.Background(), openTimeout)
		defer done()
		_ = c.device.send(ctx, c.id, commandCancel, nil)
	}()
}

// Close closes the device. It may be called several times.
func (c *Channel) Close() {
	if !c.cancelled.Load() {
		c.device.close()
	}
}
