package main

import "fmt"

var process = section{
	name: "process", title: "A token in a new process",
	about: `
A program starts, gets one token silently, prints it and exits: what a command-line tool
costs each time it runs. "Kept" reads the tokens that an earlier process kept, sealed, with
Config.KeepTokens, and makes no request. "By request" has none and sends one request with
the PRT to the emulated tenant on this machine, with no network in between. "MSAL Go, file"
is the file cache of MSAL Go's extensions, which is not encrypted. Keys are in software: a
TPM adds what the section on the TPM says. "A program that does nothing" exits at once.
`,
	benchmarks: []benchmark{{"internal/benchpeers", []string{"-bench", "^BenchmarkNewProcess$", "-benchtime", "40x", "."}}},
	render: func(r *report) (output, error) {
		const name = "NewProcess"
		kinds := [][2]string{{"prtbroker-kept", "kept"}, {"prtbroker-request", "request"}, {"msal-file", "MSAL Go"}}
		nothing, ok := r.find(name, "ns/op", "client=nothing")
		if !ok {
			return output{}, fmt.Errorf("no program that does nothing")
		}
		c := barChart{
			title: "A token in a new process", under: "from start to end; the cached tokens in brackets",
			legend: []string{"prtbroker, kept", "prtbroker, request", "MSAL Go, file"}, hasWords: "time of a process that gets one token",
			bars: []bar{{"nothing", nothing, duration(nothing), 6}},
		}
		rows := [][]string{{"tokens kept", "prtbroker, kept", "prtbroker, by request", "MSAL Go, file", "a program that does nothing"}}
		var o output
		for _, n := range r.values(name, "tokens") {
			if n == "0" {
				continue
			}
			row := []string{n}
			var times []float64
			for i, k := range kinds {
				v, ok := r.find(name, "ns/op", "tokens="+n, "client="+k[0])
				if !ok {
					return output{}, fmt.Errorf("no %s with %s tokens", k[0], n)
				}
				label := ""
				if i == 0 {
					label = "(" + n + ")"
				}
				c.bars = append(c.bars, bar{label, v, duration(v), i})
				row, times = append(row, duration(v)), append(times, v)
			}
			rows = append(rows, append(row, duration(nothing)))
			if n == "100" {
				o.readme = [][]string{{"the same in a new process, of 100 kept tokens; by a request instead", duration(times[0]) + "; " + duration(times[1]), "MSAL Go's file cache: " + duration(times[2])}}
			}
		}
		o.charts, o.tables = []chart{{"process", c.hasWords, c.svg()}}, [][][]string{rows}
		return o, nil
	},
}
