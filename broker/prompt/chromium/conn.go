package chromium

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// maxMessage bounds a message of the browser. Only events and small results
// are asked for.
const maxMessage = 16 << 20

// lastID is the id of the command after which replies are no longer read.
const lastID = 1 << 30

// errClosed means that the browser ended.
var errClosed = errors.New("chromium: the browser exited")

// conn speaks the DevTools protocol over a pipe: JSON messages that end in a
// zero byte. One goroutine reads; commands may come from any.
type conn struct {
	w io.Writer

	mu      sync.Mutex // guards what follows; not held while writing
	last    int64
	waiting map[int64]chan message
	over    bool

	writing sync.Mutex // one message at a time
	events  chan message
	stop    chan struct{} // closed when events are no longer read
}

// message is a message in either direction.
type message struct {
	ID      int64           `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

func newConn(w io.Writer, r io.Reader) *conn {
	c := &conn{w: w, waiting: map[int64]chan message{}, events: make(chan message), stop: make(chan struct{})}
	go c.read(r)
	return c
}

func (c *conn) read(r io.Reader) {
	defer c.end()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxMessage)
	lines.Split(splitZero)
	for lines.Scan() {
		var m message
		if json.Unmarshal(lines.Bytes(), &m) != nil {
			return // a program that does not speak the protocol is not a browser
		}
		if m.ID == 0 {
			select {
			case c.events <- m:
			case <-c.stop:
				return
			}
			continue
		}
		c.mu.Lock()
		reply := c.waiting[m.ID]
		delete(c.waiting, m.ID)
		c.mu.Unlock()
		if reply != nil {
			reply <- m
		}
	}
}

func (c *conn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	for id, reply := range c.waiting {
		close(reply)
		delete(c.waiting, id)
	}
	close(c.events)
}

// splitZero is a bufio.SplitFunc for messages that end in a zero byte.
func splitZero(data []byte, _ bool) (int, []byte, error) {
	for i, b := range data {
		if b == 0 {
			return i + 1, data[:i], nil
		}
	}
	return 0, nil, nil
}

// call sends a command to a session ("" is the browser) and waits for its
// result.
func (c *conn) call(ctx context.Context, session, method string, params, result any) error {
	b, err := json.Marshal(params)
	if err != nil {
		return fmt.Errorf("chromium: %s: %w", method, err)
	}
	reply := make(chan message, 1)
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return errClosed
	}
	c.last++
	id := c.last
	c.waiting[id] = reply
	c.mu.Unlock()
	if err := c.send(message{ID: id, Session: session, Method: method, Params: b}); err != nil {
		return err
	}
	select {
	case m, ok := <-reply:
		if !ok {
			return errClosed
		}
		return m.decode(method, result)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *conn) send(m message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("chromium: %s: %w", m.Method, err)
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	if _, err := c.w.Write(append(b, 0)); err != nil {
		return errClosed
	}
	return nil
}

func (m message) decode(method string, result any) error {
	if m.Error != nil {
		return fmt.Errorf("chromium: %s: %s", method, m.Error.Message)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(m.Result, result); err != nil {
		return fmt.Errorf("chromium: %s: %w", method, err)
	}
	return nil
}
