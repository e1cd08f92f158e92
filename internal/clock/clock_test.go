package clock

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/clock/clocktest"
)

func TestLeft(t *testing.T) {
	now := time.Now()
	end := now.Add(time.Hour)
	slept := clocktest.Apart(t, now, 8*3600)
	setBack := clocktest.Apart(t, now, -8*3600)
	for name, tt := range map[string]struct {
		end, now time.Time
		want     time.Duration
	}{
		"both clocks agree":             {end, now, time.Hour},
		"after a suspend":               {end, slept, -7 * time.Hour},
		"the clock was set back":        {end, setBack.Add(2 * time.Hour), -time.Hour},
		"from a record":                 {end.Round(0), now, time.Hour},
		"from a record, after suspend":  {end.Round(0), slept, -7 * time.Hour},
		"from a record, on both clocks": {On(end.Round(0), now), setBack.Add(2 * time.Hour), -time.Hour},
		"over by both":                  {now, end, -time.Hour},
		"in a thousand years":           {time.Date(3026, 1, 1, 0, 0, 0, 0, time.UTC), now, math.MaxInt64},
		"a zero time":                   {time.Time{}, now, math.MinInt64},
		"within the second": {
			time.Date(2026, 3, 2, 9, 0, 1, 1, time.UTC), time.Date(2026, 3, 2, 9, 0, 0, 2, time.UTC), time.Second - 1,
		},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tt.want, Left(tt.end, tt.now)) })
	}
	require.True(t, On(time.Time{}, now).IsZero())
}

func BenchmarkLeft(b *testing.B) {
	now := time.Now()
	end := now.Add(time.Hour)
	for b.Loop() {
		if Left(end, now) <= 0 {
			b.Fatal("over")
		}
	}
}
