package main

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/policy"
)

// corpus is a folder of real exports beside the repository, not part of it.
const corpus = "../../../shared/corpus"

func needCorpus(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(corpus); errors.Is(err, fs.ErrNotExist) {
		t.Skip("no corpus of exports beside the repository")
	}
}

func TestPermute(t *testing.T) {
	status, out, errs := whatif("-policies", "testdata/change/old", "-permute")
	require.Empty(t, errs)
	require.Zero(t, status)
	golden(t, "permute.txt", out)
}

// Every combination is in exactly one line, and judged alone it ends as the
// line says.
func TestPermutationIsWhole(t *testing.T) {
	for _, export := range []string{"testdata/change/old", clinic} {
		tn, err := openTenant(export, reading{})
		require.NoError(t, err)
		s, err := newSpace(noon(), tn)
		require.NoError(t, err)
		p, err := tn.permute(noon(), new(strings.Builder))
		require.NoError(t, err)
		require.Equal(t, s.size(), p.total)
		covered := 0
		for i, c := range p.cubes {
			for n := range s.size() {
				at := s.point(n)
				if n%7 != 0 && len(p.cubes) > 20 || !s.sensible(at) || !c.holds(at) {
					continue // a part of a large space will do
				}
				covered++
				var r policy.Results
				k, err := tn.key(s.signIn(at), &r)
				require.NoError(t, err)
				require.Equal(t, p.keys[i], k, s.describe(cubeOf(at)))
			}
		}
		if len(p.cubes) <= 20 {
			require.Equal(t, p.judged, covered)
		}
	}
}

func (c cube) holds(at point) bool {
	for a, v := range at {
		if c[a]>>v&1 == 0 {
			return false
		}
	}
	return true
}

// Values that no policy tells apart are one value.
func TestAxesHoldWhatMatters(t *testing.T) {
	tn, err := openTenant("testdata/change/old", reading{})
	require.NoError(t, err)
	s, err := newSpace(noon(), tn)
	require.NoError(t, err)
	var sizes []int
	for _, a := range s.axes {
		sizes = append(sizes, len(a.values))
	}
	require.Equal(t, []int{2, 2, 2, 1, 1, 4, 1, 1, 1, 1}, sizes, "who, application, client and device; nothing else is named")
}

func TestMergeCubes(t *testing.T) {
	var list []cube
	for a := range uint8(3) {
		for b := range uint8(4) {
			if a != 2 || b == 0 {
				list = append(list, cubeOf(point{0: a, 1: b}))
			}
		}
	}
	merged := mergeCubes(list)
	require.Len(t, merged, 2)
	total := 0
	for _, c := range merged {
		total += c.size()
	}
	require.Equal(t, len(list), total)
}

// Steps of a coprime number meet every combination once.
func TestCoprime(t *testing.T) {
	for _, total := range []int{1, 2, 12, 97, 1000} {
		step, seen := coprime(5, total), map[int]bool{}
		for i, n := 0, 0; i < total; i++ {
			require.False(t, seen[n])
			seen[n] = true
			n = (n + step) % total
		}
	}
}

// The report of a permutation shows its gaps first.
func TestPermutedPage(t *testing.T) {
	file := t.TempDir() + "/p.html"
	status, _, errs := whatif("-policies", "testdata/change/old", "-permute", "-html", file)
	require.Empty(t, errs)
	require.Zero(t, status)
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	elements(t, string(page))
	require.Contains(t, string(page), "a member of 0aaf84eb-0000-4000-8000-000000000001")
}

// Published baselines: as enabled they leave fewer gaps than as they ship.
func TestCorpusPermutes(t *testing.T) {
	needCorpus(t)
	for _, set := range []string{"/j0eyv__ConditionalAccessBaseline", "/AlexFilipin__ConditionalAccess/PolicySets/Bare_minimum", "/Clutch2View__nis2-conditional-access-policies"} {
		t.Run(set, func(t *testing.T) {
			gaps := func(args ...string) int {
				status, out, _ := whatif(append([]string{"-policies", corpus + set, "-permute"}, args...)...)
				require.Zero(t, status, out)
				require.Contains(t, out, "distinct outcome")
				n := 0
				for _, block := range strings.Split(out, "\n\n") {
					if strings.HasPrefix(block, "GAP") {
						n += strings.Count(block, "\n")
					}
				}
				return n
			}
			shipped, enabled := gaps(), gaps("-as-enabled")
			t.Logf("gaps: %d as it ships, %d as enabled", shipped, enabled)
			require.Positive(t, shipped)
		})
	}
}
