package fido

import (
	"context"
	"io"
	"strings"
	"unicode"
)

// A Device is a security key that is plugged in.
type Device struct {
	// Name is what the manufacturer calls it.
	Name string
	// Open opens it. Read returns one report of 64 bytes, Write sends one, and
	// Close makes a Read that waits return.
	Open func(context.Context) (io.ReadWriteCloser, error)
}

// longestName is how many characters of a name are shown.
const longestName = 64

// label is the name of a device for people. It comes from the device, so that
// nothing in it may move a cursor.
func label(name string) string {
	name = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.TrimSpace(name))
	if r := []rune(name); len(r) > longestName {
		name = string(r[:longestName])
	}
	if name == "" {
		return "on USB"
	}
	return name
}
