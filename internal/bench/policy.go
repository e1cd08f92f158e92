package main

import "fmt"

var decisions = section{
	name: "policy", title: "A Conditional Access decision",
	about: `
Each engine evaluates the same sign-ins of users in 50 groups against the same tenant,
whose policies are drawn in the proportions of public exports. Before anything is timed,
all must name the same unsatisfied policies (casbin, which names none, must give the same
answer). What the others have no concept of (named locations, what satisfies a control) is
computed for them beforehand and not counted. "prtbroker, ids" looks up user, device and
application by their ids each time; otherwise they are looked up once, as a service would
do. The naive loop compares strings, policy by policy.
`,
	benchmarks: []benchmark{{"internal/benchpeers", []string{"-bench", "^BenchmarkPolicy$", "-benchtime", "150ms", "."}}},
	render: func(r *report) (output, error) {
		const name = "Policy"
		engines := [][2]string{
			{"prtbroker", "prtbroker"}, {"prtbroker-ids", "prtbroker, ids"}, {"naive", "naive loop"},
			{"cedar", "cedar-go"}, {"opa", "OPA"}, {"opa-data", "OPA, data"}, {"casbin", "casbin"},
		}
		p := plot{
			title: "A Conditional Access decision", under: "time for one, by the number of policies", formatX: digits, formatY: duration,
			hasWords: "time of a decision at 50 to 10,000 policies, by engine",
		}
		sizes := r.values(name, "policies")
		for _, s := range sizes {
			p.x = append(p.x, number(s))
		}
		timesOf, allocs := [][]string{{"policies"}}, [][]string{{"policies: allocations"}}
		for _, e := range engines {
			p.lines = append(p.lines, line{e[1], series(r, name, "ns/op", "policies", "engine="+e[0])})
			timesOf[0], allocs[0] = append(timesOf[0], e[1]), append(allocs[0], e[1])
		}
		o := output{charts: []chart{{"policy", p.hasWords, p.svg()}}}
		for _, s := range sizes {
			row, count, at := []string{digits(number(s))}, []string{digits(number(s))}, map[string]float64{}
			for _, e := range engines {
				v, ok := r.find(name, "ns/op", "policies="+s, "engine="+e[0])
				n, _ := r.find(name, "allocs/op", "policies="+s, "engine="+e[0])
				if !ok {
					return output{}, fmt.Errorf("no %s with %s policies", e[0], s)
				}
				at[e[0]] = v
				row, count = append(row, duration(v)), append(count, whole(n))
			}
			timesOf, allocs = append(timesOf, row), append(allocs, count)
			if s == "240" || s == "10000" {
				ours := at["prtbroker"]
				o.readme = append(o.readme, []string{
					"Conditional Access decision, " + digits(number(s)) + " policies", duration(ours) + ", " + count[1] + " allocations",
					fmt.Sprintf("naive loop: %s; cedar-go: %s; OPA: %s; casbin: %s", times(at["naive"], ours), times(at["cedar"], ours), times(at["opa"], ours), times(at["casbin"], ours)),
				})
			}
		}
		o.tables = [][][]string{timesOf, allocs}
		return o, nil
	},
}
