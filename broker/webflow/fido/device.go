package fido

import (
	"context"
	"io"
	"strings"
	"unicode"
)

// A Device is a security key that is plugged in.
type Device struct {
	// Name is the name that the manufacturer gave it.
	Name string
	// Open opens the device. Read returns one report of 64 bytes, Write sends
	// one, and Close makes a waiting Read return.
	Open func(context.Context) (io.ReadWriteCloser, error)
}

// longestName is how many characters of a name are shown.
const longestName = 64

// label returns the name of a device for display. The name comes from the
// device, so it must not contain anything that moves the cursor.
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
