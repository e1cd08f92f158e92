package main

import "fmt"

var silent = section{
	name: "silent", title: "A cached token",
	about: `
Getting a cached, valid access token from one client with one account and 1 to 10,000
tokens, each for a different resource and requested in turn. 10,000 take longer because
they do not fit into the processor's cache. "Persistent" is prtbroker with its files, and
MSAL Go with a cache that only returns bytes from memory. With two goroutines, an
operation is still one token.
`,
	benchmarks: []benchmark{{"internal/benchpeers", []string{"-bench", "^BenchmarkSilent$", "-benchtime", "150ms", "."}}},
	render: func(r *report) (o output, err error) {
		const name = "Silent"
		p := plot{
			title: "A cached token", under: "time for one, by how many are cached; one goroutine",
			formatX: digits, formatY: duration,
			hasWords: "time of a cached token at 1 to 10,000 tokens, with prtbroker and with MSAL Go",
		}
		sizes := r.values(name, "tokens")
		for _, s := range sizes {
			p.x = append(p.x, number(s))
		}
		for _, l := range [][3]string{
			{"prtbroker", "memory", "prtbroker"}, {"msal", "memory", "MSAL Go"},
			{"prtbroker", "persistent", "prtbroker, files"}, {"msal", "persistent", "MSAL, persistent"},
		} {
			p.lines = append(p.lines, line{l[2], series(r, name, "ns/op", "tokens", "client="+l[0], "cache="+l[1], "goroutines=1")})
		}
		o.charts = []chart{{"silent", p.hasWords, p.svg()}}
		for _, cached := range r.values(name, "cache") {
			rows := [][]string{{cached + ": tokens", "prtbroker", "allocs", "two goroutines", "MSAL Go", "allocs", "two goroutines", "MSAL Go ÷ prtbroker"}}
			for _, n := range sizes {
				row := []string{digits(number(n))}
				var one [2]float64
				for i, c := range []string{"prtbroker", "msal"} {
					at := func(unit, goroutines string) float64 {
						v, ok := r.find(name, unit, "cache="+cached, "tokens="+n, "client="+c, "goroutines="+goroutines)
						if !ok {
							err = fmt.Errorf("no %s of %s, %s, %s tokens", unit, c, cached, n)
						}
						return v
					}
					one[i] = at("ns/op", "1")
					row = append(row, duration(one[i]), whole(at("allocs/op", "1")), duration(at("ns/op", "2")))
				}
				rows = append(rows, append(row, times(one[1], one[0])))
			}
			o.tables = append(o.tables, rows)
			for _, n := range []string{sizes[0], sizes[len(sizes)-1]} {
				ours, _ := r.find(name, "ns/op", "cache="+cached, "tokens="+n, "client=prtbroker", "goroutines=1")
				allocs, _ := r.find(name, "allocs/op", "cache="+cached, "tokens="+n, "client=prtbroker", "goroutines=1")
				theirs, _ := r.find(name, "ns/op", "cache="+cached, "tokens="+n, "client=msal", "goroutines=1")
				o.readme = append(o.readme, []string{
					fmt.Sprintf("silent token from a %s cache of %s", cached, digits(number(n))),
					fmt.Sprintf("%s, %s allocations", duration(ours), whole(allocs)), "MSAL Go: " + times(theirs, ours),
				})
			}
		}
		return o, err
	},
}
