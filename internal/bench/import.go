package main

import "fmt"

var importing = section{
	name: "import", title: "Cost of importing",
	about: `
The smallest program that gets a token silently, built without symbols, beside the
smallest with MSAL Go and its file cache, and one that only fetches a page. Packages and
modules are those outside the standard library, which is already compiled when the build
is timed.
`,
	benchmarks: []benchmark{{"internal/benchpeers", []string{"-bench", "^BenchmarkImport$", "-benchtime", "1x", "."}}},
	render: func(r *report) (output, error) {
		const name = "Import"
		page, ok := r.find(name, "binary-bytes", "program=http")
		if !ok {
			return output{}, fmt.Errorf("no program http")
		}
		c := barChart{
			title: "Cost of importing", under: "size of the smallest program, without symbols",
			hasWords: "sizes of programs with prtbroker, with MSAL Go and with neither",
		}
		rows := [][]string{{"program", "binary", "more than a page", "packages", "modules", "build"}}
		added := map[string]string{}
		for i, p := range [][2]string{{"http", "asks for a page"}, {"prtbroker", "prtbroker"}, {"msal", "MSAL Go"}} {
			at := func(unit string) float64 { return first(r.find(name, unit, "program="+p[0])) }
			size := at("binary-bytes")
			colours := []int{6, 0, 1}
			c.bars = append(c.bars, bar{p[1], size, megabytes(size), colours[i]})
			rows = append(rows, []string{p[1], megabytes(size), megabytes(size - page), whole(at("packages")), whole(at("modules")), seconds(at("build-sec"))})
			added[p[0]] = fmt.Sprintf("%s, %s packages of %s modules", megabytes(size-page), whole(at("packages")), whole(at("modules")))
		}
		return output{
			charts: []chart{{"import", c.hasWords, c.svg()}}, tables: [][][]string{rows},
			readme: [][]string{{"what importing adds to a program that uses net/http", added["prtbroker"], "MSAL Go: " + added["msal"]}},
		}, nil
	},
}
