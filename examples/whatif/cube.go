package main

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/policy"
)

// A cube is a set of combinations: for each axis the values, one bit each.
type cube [axes]uint64

func cubeOf(p point) (c cube) {
	for a, v := range p {
		c[a] = 1 << v
	}
	return c
}

// first is one combination of the cube.
func (c cube) first() (p point) {
	for a, m := range c {
		p[a] = uint8(bits.TrailingZeros64(m))
	}
	return p
}

// A merger collects combinations by their answer.
type merger struct {
	groups map[answerKey][]cube
	order  []answerKey
}

func newMerger() *merger { return &merger{groups: map[answerKey][]cube{}} }

func (m *merger) add(p point, k answerKey) {
	if _, ok := m.groups[k]; !ok {
		m.order = append(m.order, k)
	}
	m.groups[k] = append(m.groups[k], cubeOf(p))
}

// outcomes counts the distinct answers, ignoring which policies decided.
func (m *merger) outcomes() int {
	distinct := map[answerKey]bool{}
	for _, k := range m.order {
		distinct[k.outcomeOnly()] = true
	}
	return len(distinct)
}

// merge joins the combinations of each answer into as few cubes as a simple
// method finds, and sorts the answers: gaps first, then grants, prompts and
// blocks.
func (m *merger) merge(s *space) (cubes []cube, keys []answerKey) {
	slices.SortStableFunc(m.order, compareKeys)
	for _, k := range m.order {
		for _, c := range mergeCubes(m.groups[k]) {
			cubes, keys = append(cubes, s.widen(c)), append(keys, k)
		}
	}
	return cubes, keys
}

func compareKeys(a, b answerKey) int {
	return cmp.Or(rankOf(a)-rankOf(b), strings.Compare(a.demands, b.demands), strings.Compare(a.session, b.session),
		a.open-b.open, strings.Compare(a.deciding, b.deciding))
}

func rankOf(k answerKey) int {
	switch {
	case k.gap:
		return 0
	case k.outcome == policy.OutcomeGrant:
		return 1
	case k.outcome == policy.OutcomeInterrupt:
		return 2
	}
	return 3
}

// mergeCubes joins cubes that differ in one axis, axis by axis, until no more
// can be joined.
func mergeCubes(list []cube) []cube {
	for before := -1; before != len(list); {
		before = len(list)
		for a := axes - 1; a >= 0; a-- {
			list = mergeAxis(list, a)
		}
	}
	slices.SortFunc(list, func(x, y cube) int {
		px, py := x.first(), y.first()
		return slices.Compare(px[:], py[:])
	})
	return list
}

func mergeAxis(list []cube, a int) []cube {
	at := make(map[cube]int, len(list))
	out := list[:0:0]
	for _, c := range list {
		key := c
		key[a] = 0
		if i, ok := at[key]; ok {
			out[i][a] |= c[a]
			continue
		}
		at[key] = len(out)
		out = append(out, c)
	}
	return out
}

func (s *space) all(a int) uint64 { return 1<<len(s.axes[a].values) - 1 }

// widen marks client and device as irrelevant for a workload, which has
// neither.
func (s *space) widen(c cube) cube {
	if s.axes[axisWho].values[c.first()[axisWho]].class != classWorkload {
		return c
	}
	for _, a := range []int{axisClient, axisPlatform, axisDevice, axisFlow, axisUserRisk, axisInsider} {
		c[a] = s.all(a)
	}
	var apps uint64
	for v, x := range s.axes[axisTarget].values {
		if x.class == "" {
			apps |= 1 << v
		}
	}
	if c[axisTarget] == apps {
		c[axisTarget] = s.all(axisTarget)
	}
	return c
}

// describe describes a cube in a sentence, leaving out what does not matter.
func (s *space) describe(c cube) string {
	var parts []string
	for a := range s.axes {
		if len(s.axes[a].values) > 1 && c[a] == s.all(a) {
			continue
		}
		if text := s.describeAxis(c, a); text != "" {
			parts = append(parts, text)
		}
	}
	if len(parts) == 0 {
		return "anybody, anything, from anywhere"
	}
	return strings.Join(parts, ", ")
}

// maxNames is how many values of an axis a sentence names.
const maxNames = 4

func (s *space) describeAxis(c cube, a int) string {
	ax := &s.axes[a]
	switch {
	case len(ax.values) == 1 && a != axisWho:
		return ""
	case c[a] == s.all(a) && a == axisWho && len(ax.values) > 1:
		return "anybody"
	}
	var in, out []string
	for v := range ax.values {
		if c[a]>>v&1 != 0 {
			in = append(in, ax.values[v].name)
		} else {
			out = append(out, ax.values[v].name)
		}
	}
	if len(in) > maxNames && len(out) <= 2 {
		return fmt.Sprintf(ax.phrase, "all but "+join(out, " and "))
	}
	if more := len(in) - maxNames; more > 0 {
		in = append(in[:maxNames], fmt.Sprintf("%d more", more))
	}
	return fmt.Sprintf(ax.phrase, join(in, " or "))
}

// facts lists the axes of a cube for the page.
func (s *space) facts(c cube) (out []fact) {
	for a := range s.axes {
		if len(s.axes[a].values) < 2 {
			continue
		}
		var names []string
		for v := range s.axes[a].values {
			if c[a]>>v&1 != 0 {
				names = append(names, s.axes[a].values[v].name)
			}
		}
		if c[a] == s.all(a) {
			names = []string{"any"}
		}
		out = append(out, fact{s.axes[a].name, strings.Join(names, ", ")})
	}
	return out
}

// size is how many combinations a cube holds.
func (c cube) size() int {
	n := 1
	for _, m := range c {
		n *= bits.OnesCount64(m)
	}
	return n
}
