package main

import "fmt"

var emulator = section{
	name: "emulator", title: "The emulated tenant",
	about: `
How many requests a second one emulated Entra answers. It signs by RS256 with a 2,048-bit
RSA key, checks the device's proof and evaluates policies. The key is public and has
sixteen primes, which makes signing cheap; a verifier cannot tell. The client runs on the
same processors. "Mixed" is 64 concurrent users, each on a device of their own: discovery,
sign-ins by password and on the pages with MFA, tokens for three services by refresh token
and by PRT, and a renewal. "100,000 users" is a directory of that size, with 10,000 devices.
`,
	benchmarks: []benchmark{
		{".", []string{"-bench", "^(BenchmarkRequests|BenchmarkMixed|BenchmarkNewServer|BenchmarkLargeDirectory|BenchmarkStart)$", "-benchtime", "500ms", "./broker/entratest"}},
		{".", []string{"-bench", "^BenchmarkTenant$", "-benchtime", "10x", "./examples/tenant"}},
	},
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
		numbers, err := tenantRows(r)
		if err != nil {
			return output{}, err
		}
		large, err := largeRows(r)
		if err != nil {
			return output{}, err
		}
		for _, row := range numbers[1:] {
			o.readme = append(o.readme, []string{"emulated tenant: " + row[0], row[1], ""})
		}
		o.charts, o.tables = []chart{{"emulator", c.hasWords, c.svg()}}, [][][]string{rows, numbers, large}
		return o, nil
	},
}

// tenantRows are the numbers of the whole, which README shows too.
func tenantRows(r *report) ([][]string, error) {
	rows := [][]string{{"", ""}}
	for _, x := range []struct {
		what, bench, unit string
		keys              []string
		format            func(float64) string
	}{
		{"mixed requests of 64 clients", "Mixed", "requests/s", nil, func(v float64) string { return digits(v) + " a second" }},
		{"NewServer", "NewServer", "ns/op", nil, duration},
		{"NewServer with 100,000 users", "Start", "ns/op", []string{"users=100000"}, duration},
		{"memory for each 10,000 users", "Start", "bytes/10000-users", []string{"users=100000"}, megabytes},
		{"`examples/tenant`: from its start until it is ready", "Tenant", "start-sec", nil, func(v float64) string { return duration(v * 1e9) }},
		{"… memory by then", "Tenant", "memory-bytes", nil, megabytes},
		{"… size of the program", "Tenant", "binary-bytes", nil, megabytes},
	} {
		v, ok := r.find(x.bench, x.unit, x.keys...)
		if !ok {
			return nil, fmt.Errorf("no %s of %s", x.unit, x.bench)
		}
		rows = append(rows, []string{x.what, x.format(v)})
	}
	return rows, nil
}

func largeRows(r *report) ([][]string, error) {
	rows := [][]string{{"of 100,000 users and 10,000 devices", "time", "allocations"}}
	for _, k := range r.values("LargeDirectory", "request") {
		v, _ := r.find("LargeDirectory", "ns/op", "request="+k)
		rows = append(rows, []string{k, duration(v), whole(first(r.find("LargeDirectory", "allocs/op", "request="+k)))})
	}
	if len(rows) == 1 {
		return nil, fmt.Errorf("no LargeDirectory")
	}
	return rows, nil
}
