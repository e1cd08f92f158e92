package main

import "fmt"

var emulator = section{
	name: "emulator", title: "The emulated tenant",
	about: `
Requests a second that one emulated Entra answers, at full strength: RSA-2048
signatures, the device's proof checked, policies evaluated. The client runs on
the same processors. "100,000 users" is a directory of that many.
`,
	benchmarks: []benchmark{{".", []string{"-bench", "^(BenchmarkRequests|BenchmarkNewServer|BenchmarkLargeDirectory)$", "-benchtime", "500ms", "./broker/entratest"}}},
	render: func(r *report) (output, error) {
		c := barChart{
			title: "The emulated tenant", under: "operations a second", legend: []string{"one client", "64 clients"},
			hasWords: "operations a second of the emulated tenant",
		}
		rows := [][]string{{"operation", "one client: time", "a second", "64 clients: a second", "allocations"}}
		var o output
		for _, k := range r.values("Requests", "kind") {
			one, ok := r.find("Requests", "ns/op", "kind="+k, "clients=1")
			many, ok2 := r.find("Requests", "ns/op", "kind="+k, "clients=64")
			if !ok || !ok2 {
				return output{}, fmt.Errorf("no %s with 1 and 64 clients", k)
			}
			allocs, _ := r.find("Requests", "allocs/op", "kind="+k, "clients=1")
			c.bars = append(c.bars, bar{k, 1e9 / one, digits(1e9/one) + "/s", 0}, bar{"", 1e9 / many, digits(1e9/many) + "/s", 1})
			rows = append(rows, []string{k, duration(one), digits(1e9 / one), digits(1e9 / many), whole(allocs)})
			if k == "password" {
				o.readme = [][]string{{"emulated tenant: sign-ins by password", digits(1e9/one) + " a second from one client, " + digits(1e9/many) + " from 64", ""}}
			}
		}
		fresh, ok := r.find("NewServer", "ns/op")
		if !ok {
			return output{}, fmt.Errorf("no NewServer")
		}
		large := [][]string{{"", "time", "allocations"}, {"NewServer", duration(fresh), whole(first(r.find("NewServer", "allocs/op")))}}
		for _, k := range r.values("LargeDirectory", "request") {
			v, _ := r.find("LargeDirectory", "ns/op", "request="+k)
			large = append(large, []string{k + ", 100,000 users", duration(v), whole(first(r.find("LargeDirectory", "allocs/op", "request="+k)))})
		}
		o.readme = append(o.readme, []string{"emulated tenant: NewServer", duration(fresh), ""})
		o.charts, o.tables = []chart{{"emulator", c.hasWords, c.svg()}}, [][][]string{rows, large}
		return o, nil
	},
}
