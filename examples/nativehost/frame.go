package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// Limits of a message, in bytes. A browser accepts a megabyte from a host
// (Chrome for developers, "Native messaging"); what the extension sends is a
// few kilobytes.
const (
	maxIn  = 1 << 20
	maxOut = 1 << 20
)

// readFrame reads a message: its length in the byte order of the machine, and
// JSON. It returns io.EOF where the browser closed between two messages.
func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.NativeEndian.Uint32(size[:])
	if n == 0 || n > maxIn {
		return nil, fmt.Errorf("a message of %d bytes: want 1 to %d", n, maxIn)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, fmt.Errorf("a message of %d bytes was cut short: %w", n, io.ErrUnexpectedEOF)
	}
	return text, nil
}

// A writer writes messages whole.
type writer struct {
	mu  sync.Mutex // guards out
	out io.Writer
}

func (w *writer) write(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(text) > maxOut {
		return fmt.Errorf("a reply of %d bytes: a browser accepts at most %d", len(text), maxOut)
	}
	frame := binary.NativeEndian.AppendUint32(make([]byte, 0, 4+len(text)), uint32(len(text)))
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err = w.out.Write(append(frame, text...))
	return err
}
