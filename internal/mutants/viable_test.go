package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A change that does not compile is not one that a test noticed.
func TestDiscount(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.MkdirAll(filepath.Join("p", "below"), 0o700))
	for name, text := range map[string]string{
		"go.mod":       "module x\n\ngo 1.26\n",
		"p/p.go":       "package p\n\nimport \"x/p/below\"\n\ntype name string\n\nfunc F(a, b name, n int) (name, int) { return a + b, n + below.N }\n",
		"p/below/b.go": "package below\n\nconst N, S = 1 + 2, \"a\" + \"b\"\n",
	} {
		require.NoError(t, os.WriteFile(filepath.FromSlash(name), []byte(text), 0o600))
	}
	r := &report{}
	require.NoError(t, json.Unmarshal([]byte(`{"files":[
		{"file_name":"p.go","mutations":[
			{"type":"ARITHMETIC_BASE","status":"KILLED","line":7,"column":49},
			{"type":"ARITHMETIC_BASE","status":"KILLED","line":7,"column":56}]},
		{"file_name":"below/b.go","mutations":[
			{"type":"ARITHMETIC_BASE","status":"NOT COVERED","line":3,"column":16},
			{"type":"ARITHMETIC_BASE","status":"NOT COVERED","line":3,"column":25}]}]}`), r))
	require.NoError(t, r.discount(t.Context(), "p"))
	require.Equal(t, map[string]int{"NOT VIABLE": 2, "KILLED": 1, "NOT COVERED": 1}, r.count())
	require.Equal(t, "KILLED", r.Files[0].Mutations[1].Status)
	require.Equal(t, "NOT COVERED", r.Files[1].Mutations[0].Status)

	require.ErrorContains(t, r.discount(t.Context(), "missing"), "go list")
}
