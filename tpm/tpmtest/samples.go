package tpmtest

import (
	"bytes"
	"encoding/base64"
)

// Blobs of a software TPM that no longer exists, as another TPM's.
var (
	sampleKey = []byte(`Parent-Name: 000b920fd7de2e6590d0a01842f1e042263bcb1b795c69f0c29acd303a9eeb34a1dc
-----BEGIN TSS2 PRIVATE KEY-----
MIHwBgZngQUKAQOgAwEB/wIEQAAAAQRYAFYAIwALAAQEcgAAABAAEAADABAAIBuh
aCckoGoU32qt2eQYYtuABuESUD4m4HuovD8XPNIDACDhBt6jOgMqgu6p44NsXyny
1MXNYmFiVbKtd4FiTJ9UPgSBgAB+ACBcOEqJAhd1L+WWR69RtQtLlXkq5WAX1KIE
HQb3K7T7kwAQCXbbJN7DnRZVj9q6Um1iXu5v05jJlMEYeN4sDn7HNGhEmOrdTKIR
cy2unLRq6VeLMlDNJTWUhOCRyV8fWJhkhCK6H8HmLYa6rh+fxH9fF+1mmZcEHfHg
MRR7
-----END TSS2 PRIVATE KEY-----
`)
	sampleSession = unbase64("cHJ0YnJva2VyAAEBAgUABEAAAAEAIgALkg/X3i5lkNCgGELx4EImO8sbeVxp8MKazTA6nus0odwAMAAIAAsABARSAAAABQAL" +
		"ACCWHw+kIo3v0kz2mofBkXphxKaoWYO1vkWnoBk9HzAXOgCeACAOfHwbQO4cxiYMbbQMgnr76tu29r6+DHJr+vbJj278ugAQ" +
		"/69E7lPQmGYWuO+wrjPI6J1ieCv+YpoB8EO/X644Fn1OtdAQVJJDrxqQNN9fJkI7qHBU8aWgnncd7i3V5p+4cuGBb+9G1iRc" +
		"XO+1AkIVT4bobMeClsHiq2f5aU7fEVYABoYSjSYejsvw7Y1r/1SOAqZG/I/biwEepxoAAA==")
	sampleSealed = unbase64("cHJ0YnJva2VyAAEBAwUABEAAAAEAIgALkg/X3i5lkNCgGELx4EImO8sbeVxp8MKazTA6nus0odwALgAIAAsAAARSAAAAEAAg" +
		"C7iUsYPng0PQ9j9f9RJeZ7fmzz1jEuTpatXqlcBegK4AngAgM0KxnaFrnxamdt+BqHZ3EjB18wRYbrsDWOXLdw+JqUAAEAaF" +
		"z/qF7XECM3xGy8eyRI+oUMP29i+XP2FumoKXk7062HgI/0tz9ZxcVqLEyH103qL+HLiZwmjxHpwiifTahNpCMqMSZKkvvWl1" +
		"vKsIKSjuvnXYsS0OnC7dp4f3b1bJqoLCpJGMsiuzcPNf6H7pWQGVM8JQuGHk0gdSAAA=")
)

func unbase64(s string) []byte {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// Samples returns blobs of a TPM that no longer exists: a P-256 device key, a
// session key and a sealed data key. They parse, and open nowhere.
func Samples() (key, session, sealed []byte) {
	return bytes.Clone(sampleKey), bytes.Clone(sampleSession), bytes.Clone(sampleSealed)
}
