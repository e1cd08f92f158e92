package terminal_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/prompt/terminal"
)

const redirect = "ms-appx-web://Microsoft.AAD.BrokerPlugin/29d9ed98-a469-4536-ade2-f981bc1d605e"

type answer struct {
	text string
	err  error
}

func TestPINKeys(t *testing.T) {
	for _, tc := range []struct {
		name, keys, want string
		err              error
	}{
		{"a line", "314159\r", "314159", nil},
		{"newline ends it", "314159\n", "314159", nil},
		{"backspace", "31415x\x7f9\r", "314159", nil},
		{"backspace of a letter of two bytes", "3é\x7f1\r", "31", nil},
		{"backspace at the start", "\x7f\x7f31\r", "31", nil},
		{"line killed", "wrong\x15314159\r", "314159", nil},
		{"arrow keys", "31\x1b[D\x1bOA41\r", "3141", nil},
		{"marks of a bracketed paste", "\x1b[200~3141\x1b[201~\r", "3141", nil},
		{"other control keys", "3\x01\x0b1\r", "31", nil},
		{"end of input after text", "3141\x04", "3141", nil},
		{"empty", "\r", "", broker.ErrUserCanceled},
		{"interrupt", "31\x03", "", broker.ErrUserCanceled},
		{"end of input", "\x04", "", broker.ErrUserCanceled},
		{"erased to nothing", "31\x15\r", "", broker.ErrUserCanceled},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newScreen(t)
			before := s.modes(t)
			p := &terminal.Prompter{Device: s.path}
			got := make(chan answer, 1)
			go func() {
				pin, err := p.PIN(t.Context(), broker.Account{PreferredUsername: "alice@contoso.example"})
				got <- answer{string(pin), err}
			}()
			s.await(t, "PIN for alice@contoso.example: ")
			s.press(t, tc.keys)
			a := <-got
			require.ErrorIs(t, a.err, tc.err)
			require.Equal(t, tc.want, a.text)
			require.NotContains(t, s.await(t, "\r\n"), "31", "the PIN was echoed")
			require.Equal(t, before, s.modes(t), "the terminal is not as it was")
		})
	}
}

func TestLineIsEchoed(t *testing.T) {
	s := newScreen(t)
	p := &terminal.Prompter{Device: s.path}
	got := make(chan answer, 1)
	go func() {
		line, err := p.Line(t.Context(), "User name: ")
		got <- answer{line, err}
	}()
	s.await(t, "User name: ")
	s.press(t, "alicf\x7fe\r")
	a := <-got
	require.NoError(t, a.err)
	require.Equal(t, "alice", a.text)
	s.await(t, "User name: alicf\b \be\r\n")
}

// The line discipline of a terminal cuts lines at 4,096 bytes.
func TestLongPaste(t *testing.T) {
	s := newScreen(t)
	p := &terminal.Prompter{Device: s.path, Paste: true}
	got := make(chan answer, 1)
	go func() {
		u, err := p.Authorize(t.Context(), "https://login.microsoftonline.com/common/oauth2/authorize?x=1", redirect)
		got <- answer{u, err}
	}()
	s.await(t, "Paste it here")
	long := redirect + "?code=" + strings.Repeat("x", 9000) + "&state=s"
	s.press(t, long+"\r")
	a := <-got
	require.NoError(t, a.err)
	require.Equal(t, long, a.text)
	require.NotContains(t, s.await(t, "\r\n"), "xxxx", "the code was echoed")
}

func TestTooLong(t *testing.T) {
	s := newScreen(t)
	p := &terminal.Prompter{Device: s.path}
	got := make(chan answer, 1)
	go func() {
		b, err := p.Secret(t.Context(), "? ")
		got <- answer{string(b), err}
	}()
	s.await(t, "? ")
	go func() { _, _ = s.keys.WriteString(strings.Repeat("x", 66<<10)) }()
	a := <-got
	require.EqualError(t, a.err, "terminal: the line is longer than 64 KiB")
	require.Empty(t, a.text)
}

func TestWrongPastes(t *testing.T) {
	s := newScreen(t)
	p := &terminal.Prompter{Device: s.path, Paste: true}
	got := make(chan answer, 1)
	go func() {
		u, err := p.Authorize(t.Context(), "https://login.microsoftonline.com/", redirect)
		got <- answer{u, err}
	}()
	for range 3 {
		s.await(t, "Paste it here")
		s.press(t, "https://attacker.example/?code=1\r")
	}
	a := <-got
	require.ErrorIs(t, a.err, broker.ErrUserCanceled)
	require.Empty(t, a.text)
	require.NotContains(t, a.err.Error(), "attacker.example")
}

func TestPasteIsOff(t *testing.T) {
	p := &terminal.Prompter{Device: newScreen(t).path}
	_, err := p.Authorize(t.Context(), "https://login.microsoftonline.com/", redirect)
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

// A question that nobody answers ends with its context, leaves the terminal as
// it was, and takes no key from the next one.
func TestContextEnds(t *testing.T) {
	s := newScreen(t)
	before := s.modes(t)
	p := &terminal.Prompter{Device: s.path}
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan answer, 1)
	go func() {
		_, err := p.Secret(ctx, "first? ")
		got <- answer{"", err}
	}()
	s.await(t, "first? ")
	waiting, giveUp := context.WithCancel(t.Context())
	giveUp()
	_, err := p.Secret(waiting, "second? ")
	require.ErrorIs(t, err, context.Canceled, "a question waits for its turn no longer than its context")
	cancel()
	require.ErrorIs(t, (<-got).err, context.Canceled)
	require.Equal(t, before, s.modes(t))

	go func() {
		b, err := p.Secret(t.Context(), "third? ")
		got <- answer{string(b), err}
	}()
	s.await(t, "third? ")
	s.press(t, "whole\r")
	a := <-got
	require.NoError(t, a.err)
	require.Equal(t, "whole", a.text)
}

func TestNoTerminal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	p := &terminal.Prompter{Device: file}
	_, err := p.PIN(t.Context(), broker.Account{})
	require.ErrorIs(t, err, terminal.ErrNoTerminal)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.EqualError(t, err, "terminal: this process has no terminal to ask the user on")
	require.ErrorIs(t, p.DeviceCode(t.Context(), broker.DeviceCode{}), terminal.ErrNoTerminal)
}

func TestDeviceCode(t *testing.T) {
	t.Setenv("LC_ALL", "C.UTF-8")
	t.Setenv("TERM", "xterm-256color")
	s := newScreen(t)
	p := &terminal.Prompter{Device: s.path, Location: time.UTC}
	require.NoError(t, p.DeviceCode(t.Context(), broker.DeviceCode{
		UserCode:        "ABCD\x1b]0;title\x07EFGH",
		VerificationURL: "https://microsoft.com/devicelogin",
		ExpiresOn:       time.Date(2026, 11, 28, 14, 5, 0, 0, time.UTC),
	}))
	text := s.await(t, "do not enter the code.")
	require.Contains(t, text, "To sign in, open https://microsoft.com/devicelogin\r\non any device and enter the code ABCD]0;titleEFGH (valid until 14:05).\r\n")
	require.Contains(t, text, "▄")
	require.NotContains(t, text, "\x1b]", "a command for the terminal came through")
}

func TestDeviceCodeWithoutQR(t *testing.T) {
	for _, tc := range []struct {
		name, locale, term string
		off                bool
	}{
		{"asked for", "C.UTF-8", "xterm", true},
		{"another locale", "C", "xterm", false},
		{"a dumb terminal", "C.UTF-8", "dumb", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("LC_ALL", tc.locale)
			t.Setenv("TERM", tc.term)
			s := newScreen(t)
			p := &terminal.Prompter{Device: s.path, NoQR: tc.off}
			require.NoError(t, p.DeviceCode(t.Context(), broker.DeviceCode{UserCode: "ABCDEFGH", VerificationURL: "https://microsoft.com/devicelogin"}))
			text := s.await(t, "do not enter the code.")
			require.NotContains(t, text, "▄")
			require.NotContains(t, text, "\x1b")
		})
	}
}
