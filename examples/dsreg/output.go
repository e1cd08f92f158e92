package main

import (
	"encoding/json"
	"fmt"
	"io"
)

// print writes the result of a command: v with --json, else by text.
func (a *app) print(v any, text func(io.Writer)) error {
	if !a.flags.json {
		text(a.out)
		return nil
	}
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// done is the result of a command that has no other result.
type done struct {
	Done bool   `json:"done"`
	User string `json:"account,omitempty"`
}

// did reports success in a sentence.
func (a *app) did(user, format string, args ...any) error {
	return a.print(done{Done: true, User: user}, func(w io.Writer) { fmt.Fprintf(w, format+"\n", args...) })
}
