package terminal

import (
	"context"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/prtbroker/prtbroker/broker"
)

// maxLine bounds a line. The line discipline of a terminal cuts lines at 4,096
// bytes, which an address with an authorization code can exceed, so that lines
// are read byte by byte in raw mode.
const maxLine = 64 << 10

// Keys in raw mode.
const (
	keyInterrupt = 0x03 // Ctrl-C
	keyEOF       = 0x04 // Ctrl-D
	keyBackspace = 0x08
	keyKillLine  = 0x15 // Ctrl-U
	keyEscape    = 0x1b
	keyDelete    = 0x7f
)

// errLineTooLong is returned for a line of more than maxLine bytes.
var errLineTooLong = errors.New("terminal: the line is longer than 64 KiB")

// ask prints a question and reads the answer. It restores the terminal before
// it returns, even if the context ends first.
func (t *tty) ask(ctx context.Context, question string, echo bool) ([]byte, error) {
	restore, err := t.raw()
	if err != nil {
		return nil, err
	}
	defer restore()
	if _, err := io.WriteString(t, question); err != nil {
		return nil, err
	}
	defer func() { _, _ = io.WriteString(t, "\r\n") }()
	stop := t.unblock(ctx)
	defer stop()
	line, err := readLine(t, echo)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return line, err
}

// readLine reads up to Enter and edits the line by the keys of the terminal.
func readLine(rw io.ReadWriter, echo bool) ([]byte, error) {
	l := line{w: io.Discard}
	if echo {
		l.w = rw
	}
	buf := make([]byte, 1) // what is read past the line would be lost
	for {
		if _, err := io.ReadFull(rw, buf); err != nil {
			l.wipe(0)
			if errors.Is(err, io.EOF) {
				return nil, broker.ErrUserCanceled
			}
			return nil, err
		}
		done, err := l.key(buf[0])
		buf[0] = 0
		if err != nil {
			l.wipe(0)
			return nil, err
		}
		if done {
			return l.text, nil
		}
	}
}

// line is a line that is being typed.
type line struct {
	text   []byte
	w      io.Writer // the echo
	escape escape
}

// escape is how far into a key's escape sequence the input is. Such keys, the
// arrows and the marks around a paste, are ignored.
type escape int

const (
	outside  escape = iota
	started         // after ESC
	sequence        // after ESC [ or ESC O
)

func (l *line) key(c byte) (done bool, err error) {
	switch {
	case l.escape == started && (c == '[' || c == 'O'):
		l.escape = sequence
	case l.escape == started:
		l.escape = outside
	case l.escape == sequence:
		if c >= 0x40 && c <= 0x7e { // the final byte, ECMA-48 5.4
			l.escape = outside
		}
	case c == '\r' || c == '\n':
		return true, nil
	case c == keyInterrupt, c == keyEOF && len(l.text) == 0:
		return false, broker.ErrUserCanceled
	case c == keyEOF:
		return true, nil
	case c == keyEscape:
		l.escape = started
	case c == keyBackspace || c == keyDelete:
		_, size := utf8.DecodeLastRune(l.text)
		l.wipe(len(l.text) - size)
	case c == keyKillLine:
		l.wipe(0)
	case c < ' ' && c != '\t':
	case len(l.text) == maxLine:
		return false, errLineTooLong
	default:
		l.add(c)
	}
	return false, nil
}

func (l *line) add(c byte) {
	if len(l.text) == cap(l.text) { // append would leave a copy of a secret behind
		grown := make([]byte, len(l.text), 2*cap(l.text)+256)
		copy(grown, l.text)
		clear(l.text)
		l.text = grown
	}
	l.text = append(l.text, c)
	_, _ = l.w.Write([]byte{c})
}

// wipe removes what was typed after the first n bytes.
func (l *line) wipe(n int) {
	for range utf8.RuneCount(l.text[n:]) {
		_, _ = io.WriteString(l.w, "\b \b")
	}
	clear(l.text[n:])
	l.text = l.text[:n]
}
