package policy_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/policy"
	"github.com/prtbroker/prtbroker/policy/policytest"
)

func compiled(tb testing.TB, n int) (*policytest.Tenant, *policy.Set) {
	tb.Helper()
	t := policytest.NewTenant(n, 7)
	s, err := policy.Compile(t.Bundle)
	require.NoError(tb, err)
	return t, s
}

func BenchmarkEvaluate(b *testing.B) {
	for _, n := range []int{240, 2_000, 10_000} {
		t, s := compiled(b, n)
		office := t.Office()
		office.Endpoint = s.Endpoint(t.Laptop())
		run := func(name string, in policy.SignIn) {
			b.Run(fmt.Sprintf("policies=%d/%s", n, name), func(b *testing.B) { evaluate(b, s, &in) })
		}
		in := office
		in.Subject = s.Subject(t.Employee(50))
		d := s.Evaluate(&in)
		require.Equal(b, policy.OutcomeGrant, d.Outcome, "%v", slices.Collect(d.Missing()))
		run("subject=cached/app=string", in)
		in.App = s.Symbol(in.AppID)
		in.AppID = ""
		run("subject=cached", in)
		in.Methods = 0
		run("subject=cached/outcome=interrupt", in)
		for _, groups := range []int{0, 50, 200} {
			in := office
			in.User = t.Employee(groups)
			run(fmt.Sprintf("subject=strings/groups=%d", groups), in)
			in.User = t.Employee(0)
			in.User.GroupSymbols = s.Symbols(nil, t.Employee(groups).Groups)
			run(fmt.Sprintf("subject=symbols/groups=%d", groups), in)
		}
		in = office
		in.Subject = s.Subject(t.Employee(50))
		in.Endpoint, in.Device = nil, t.Laptop()
		run("subject=cached/device=facts", in)
	}
}

func evaluate(b *testing.B, s *policy.Set, in *policy.SignIn) {
	b.ReportAllocs()
	var d policy.Decision
	for b.Loop() {
		d = s.Evaluate(in)
	}
	require.NotEqual(b, policy.OutcomeInvalid, d.Outcome)
	b.ReportMetric(float64(d.Applied), "applied")
}

func BenchmarkEvaluateInto(b *testing.B) {
	t, s := compiled(b, 240)
	in := t.Office()
	in.Subject, in.Endpoint = s.Subject(t.Employee(50)), s.Endpoint(t.Laptop())
	var r policy.Results
	b.ReportAllocs()
	for b.Loop() {
		s.EvaluateInto(&in, &r)
	}
}

// BenchmarkEvaluateParallel shares one Set among all processors.
func BenchmarkEvaluateParallel(b *testing.B) {
	t, s := compiled(b, 240)
	sub, laptop := s.Subject(t.Employee(50)), s.Endpoint(t.Laptop())
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		in := t.Office()
		in.Subject, in.Endpoint = sub, laptop
		for pb.Next() {
			s.Evaluate(&in)
		}
	})
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{240, 10_000} {
		t := policytest.NewTenant(n, 7)
		b.Run(fmt.Sprintf("policies=%d", n), func(b *testing.B) {
			for b.Loop() {
				_, err := policy.Compile(t.Bundle)
				require.NoError(b, err)
			}
		})
	}
}

func BenchmarkSubject(b *testing.B) {
	t, s := compiled(b, 240)
	u := t.Employee(200)
	for b.Loop() {
		s.Subject(u)
	}
}
