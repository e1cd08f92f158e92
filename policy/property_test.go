package policy_test

import (
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/policy/policytest"
)

// TestAgainstNaive compares the compiled engine with an evaluator that reads
// every policy anew: outcome, controls, session, and the explanation of each
// policy. POLICY_PAIRS sets how many pairs of a policy set and a sign-in are
// tried; POLICY_SEED the first seed.
func TestAgainstNaive(t *testing.T) {
	few := defaultPairs
	switch {
	case os.Getenv("PRTBROKER_LONG") == "1":
	case testing.Short():
		few /= 5
	default:
		few /= 3
	}
	pairs, seed := env(t, "POLICY_PAIRS", few), env(t, "POLICY_SEED", 1)
	const signIns = 25
	for done := 0; done < pairs; done += signIns {
		seed++
		g := policytest.NewGenerator(uint64(seed))
		n := 1 + g.IntN(16)
		if g.IntN(400) == 0 {
			n = 200 + g.IntN(1200) // several blocks, several windows
		}
		b, o := g.Bundle(n), g.Options()
		s, err := o.Compile(b)
		require.NoError(t, err)
		for i := range signIns {
			q := g.SignIn()
			if err := policytest.Check(s, b, o, q); err != nil {
				t.Fatalf("seed %d, sign-in %d: %v", seed, i, err)
			}
		}
	}
}

func env(t *testing.T, name string, n int) int {
	if v := os.Getenv(name); v != "" {
		var err error
		n, err = strconv.Atoi(v)
		require.NoError(t, err)
	}
	return n
}
