package fido

import (
	"context"
	"errors"
	"fmt"
)

// A Prompter talks to the user about a security key.
type Prompter interface {
	// PIN asks for the key's PIN, in UTF-8. The result is overwritten after use.
	// Empty: the user declines to enter one, which ends the sign-in with
	// [ErrDenied].
	PIN(context.Context, PINRequest) ([]byte, error)
	// Touch tells the user to touch the key, and returns at once. key is its name.
	// Empty: any of several keys, and the touch chooses it.
	Touch(ctx context.Context, key string) error
}

// A PINRequest describes the PIN to ask for.
type PINRequest struct {
	// Key is the name of the key, as given by the manufacturer, without
	// unprintable characters.
	Key string
	// TriesLeft is how many wrong PINs the key allows before it blocks
	// permanently.
	TriesLeft int
	// Wrong says why the last PIN was not accepted: [ErrWrongPIN] or
	// [ErrPINLength]. Nil: this is the first try.
	Wrong error
}

// String returns the question in English.
func (r PINRequest) String() string {
	s := ""
	switch {
	case errors.Is(r.Wrong, ErrWrongPIN):
		s = "The PIN is wrong. "
	case errors.Is(r.Wrong, ErrPINLength):
		s = "A PIN has 4 to 63 characters. "
	}
	s += "PIN of the security key " + r.Key
	if r.Wrong != nil || r.TriesLeft <= fewTries {
		s += fmt.Sprintf(" (tries left: %d)", r.TriesLeft)
	}
	return s + ": "
}

// The user is told how many tries are left when there are at most fewTries.
const fewTries = 3

// A TextPrompter asks in text, such as a *terminal.Prompter.
type TextPrompter interface {
	// Secret asks for a line that is not shown.
	Secret(ctx context.Context, question string) ([]byte, error)
	// Show shows a line.
	Show(ctx context.Context, text string) error
}

// Text asks in English text.
func Text(p TextPrompter) Prompter { return text{p} }

type text struct{ TextPrompter }

func (t text) PIN(ctx context.Context, r PINRequest) ([]byte, error) {
	return t.Secret(ctx, r.String())
}

func (t text) Touch(ctx context.Context, key string) error {
	if key == "" {
		return t.Show(ctx, "Touch the security key that you want to use.")
	}
	return t.Show(ctx, "Touch the security key "+key+".")
}
