package tally

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	l, ok := Parse(`proof: {"class":"faults","cell":"a request and a fault","cells":12,"passed":11,"seconds":1.5}`)
	require.True(t, ok)
	require.Equal(t, Line{Class: "faults", Cell: "a request and a fault", Cells: 12, Passed: 11, Seconds: 1.5}, l)
	for _, other := range []string{"", "ok  \tgithub.com/x\t0.1s", "proof: ", "proof: {}", `    proof: {"class":"faults","cell":"x"}`} {
		_, ok := Parse(other)
		require.False(t, ok, other)
	}
}

func TestBudget(t *testing.T) {
	t.Setenv(Env, "")
	require.Zero(t, Budget(), "outside make proof")
	t.Setenv(Env, "90s")
	require.Equal(t, 90*time.Second, Budget())
}

func TestCount(t *testing.T) {
	var c Count
	c.Cell(true)
	c.Cell(false)
	c.Add(10, 10)
	require.Equal(t, 12, c.Cells())
	require.EqualValues(t, 11, c.passed.Load())
}
