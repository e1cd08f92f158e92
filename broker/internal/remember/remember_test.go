package remember_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/remember"
)

func TestAnswers(t *testing.T) {
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		state int
		at    time.Time
		want  bool
	}{
		"at once":                  {1, now, true},
		"until it is too long ago": {1, now.Add(remember.For - 1), true},
		"and no longer":            {1, now.Add(remember.For), false},
		"in another state":         {2, now, false},
		"the clock was set back":   {1, now.Add(-time.Second), false},
	} {
		t.Run(name, func(t *testing.T) {
			var a remember.Answers[int, string]
			a.Keep("r", 1, now, "no")
			answer, ok := a.Get("r", tt.state, tt.at)
			require.Equal(t, tt.want, ok)
			require.Equal(t, tt.want, answer == "no")
			_, ok = a.Get("r", 1, now)
			require.Equal(t, tt.want, ok, "what does not hold is dropped")
		})
	}
	t.Run("forgotten", func(t *testing.T) {
		var a remember.Answers[int, string]
		a.Keep("r", 1, now, "no")
		a.Forget("r")
		_, ok := a.Get("r", 1, now)
		require.False(t, ok)
	})
	t.Run("full, and all others are over", func(t *testing.T) {
		var a remember.Answers[int, int]
		a.Keep("young", 1, now, 1)
		for i := range remember.Max - 1 {
			a.Keep(fmt.Sprint("over", i), 1, now.Add(-remember.For), i)
		}
		a.Keep("new", 1, now, 1)
		for _, request := range []string{"young", "new"} {
			_, ok := a.Get(request, 1, now)
			require.True(t, ok, request)
		}
	})
	t.Run("bounded, the old ones first", func(t *testing.T) {
		var a remember.Answers[int, int]
		for i := range remember.Max {
			a.Keep(fmt.Sprint("old", i), 1, now.Add(-time.Hour), i)
		}
		a.Keep("young", 1, now, 1)
		for i := range remember.Max {
			a.Keep(fmt.Sprint("new", i), 1, now, i)
			if i == remember.Max/2 {
				_, ok := a.Get("young", 1, now)
				require.True(t, ok)
			}
		}
		_, ok := a.Get("young", 1, now)
		require.False(t, ok, "the bound holds")
	})
}
