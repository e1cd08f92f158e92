//go:build race

package policy_test

// The race detector makes everything ten times slower and finds no more in
// more pairs.
const defaultPairs = 5_000
