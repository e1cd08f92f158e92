package ctaphid

import (
	"context"
	"fmt"
	"io"
	"sync"
)

// A device reads reports in the background, so that a key that never answers
// blocks a caller no longer than its context allows.
type device struct {
	rw      io.ReadWriteCloser
	reports chan report
	closed  chan struct{}
	once    sync.Once
}

type report struct {
	data [ReportSize]byte
	n    int
	err  error
}

func newDevice(rw io.ReadWriteCloser) *device {
	d := &device{rw: rw, reports: make(chan report), closed: make(chan struct{})}
	go d.read()
	return d
}

func (d *device) read() {
	for {
		var r report
		r.n, r.err = d.rw.Read(r.data[:])
		select {
		case d.reports <- r:
		case <-d.closed:
			return
		}
		if r.err != nil {
			return
		}
	}
}

// send writes a message. If the context ends during a write, the device is
// closed, since half a message may have been sent.
func (d *device) send(ctx context.Context, channel uint32, command byte, message []byte) error {
	reports, err := packets(channel, command, message)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		for i := range reports {
			if _, err := d.rw.Write(reports[i][:]); err != nil {
				done <- fmt.Errorf("%w: %w", ErrBroken, err)
				return
			}
		}
		done <- nil
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		d.close()
		return ctx.Err()
	case <-d.closed:
		return ErrBroken
	}
}

// receive reads one message of a channel.
func (d *device) receive(ctx context.Context, channel uint32) (command byte, message []byte, err error) {
	a := assembly{channel: channel}
	for {
		select {
		case r := <-d.reports:
			if r.err != nil {
				return 0, nil, fmt.Errorf("%w: %w", ErrBroken, r.err)
			}
			whole, err := a.add(r.data[:r.n])
			if err != nil || whole {
				return a.command, a.message, err
			}
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		case <-d.closed:
			return 0, nil, ErrBroken
		}
	}
}

func (d *device) close() {
	d.once.Do(func() {
		close(d.closed)
		_ = d.rw.Close()
	})
}
