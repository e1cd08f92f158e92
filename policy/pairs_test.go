//go:build !race

package policy_test

const defaultPairs = 50_000
