package main

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	before = "testdata/change/old"
	after  = "testdata/change/new"
)

func TestDiff(t *testing.T) {
	for _, format := range formats {
		for name, args := range map[string][]string{"permuted": nil, "matrix": {"-matrix", "testdata/change/personas.json"}} {
			t.Run(format+"/"+name, func(t *testing.T) {
				status, out, errs := whatif(append([]string{"diff", before, after, "-format", format}, args...)...)
				require.Empty(t, errs)
				require.Equal(t, statusUnexpected, status)
				golden(t, "diff-"+name+"."+format, out)
			})
		}
	}
}

func TestDiffStatuses(t *testing.T) {
	broken := t.TempDir()
	require.NoError(t, os.CopyFS(broken, os.DirFS(after)))
	require.NoError(t, os.WriteFile(filepath.Join(broken, "half.json"), []byte(`{"displayName":`), 0o644))
	for _, c := range []struct {
		name, args string
		want       int
	}{
		{"the same", before + " " + before, statusAnswer},
		{"changed", before + " " + after, statusUnexpected},
		{"changed, which is not asked", before + " " + after + " -fail-on none", statusAnswer},
		{"loosened", "-fail-on loosened " + before + " " + after, statusUnexpected},
		{"tightened only", "-fail-on loosened -matrix " + tightenedOnly(t) + " " + before + " " + after, statusAnswer},
		{"a broken file", before + " " + broken, statusIncomplete},
		{"states of the other", before + " " + before + " -as-enabled", statusAnswer},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, out, errs := whatif(append([]string{"diff"}, strings.Fields(c.args)...)...)
			require.Empty(t, errs)
			require.Equal(t, c.want, status, out)
		})
	}
}

// tightenedOnly is a matrix of sign-ins of which the new policies ask more.
func tightenedOnly(t *testing.T) string {
	file := filepath.Join(t.TempDir(), "m.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"personas":[{"name":"E","id":"e"}],"signIns":[{"name":"Mail","app":"exchange","platform":"windows"}]}`), 0o644))
	return file
}

// A block in place of a prompt is told as the block that it is, and a file that
// cannot be read is an error in every format.
func TestDiffFormatsNameBrokenFiles(t *testing.T) {
	broken := t.TempDir()
	require.NoError(t, os.CopyFS(broken, os.DirFS(after)))
	require.NoError(t, os.WriteFile(filepath.Join(broken, "half.json"), []byte(`{"displayName":`), 0o644))
	for _, format := range formats {
		_, out, _ := whatif("diff", before, broken, "-format", format)
		require.Contains(t, out, "half.json", format)
	}
	_, out, _ := whatif("diff", before, broken, "-format", "sarif")
	var log sarifLog
	require.NoError(t, json.Unmarshal([]byte(out), &log))
	require.False(t, log.Runs[0].Invocations[0].Successful)
	_, out, _ = whatif("diff", before, broken, "-format", "junit")
	var suites junitSuites
	require.NoError(t, xml.Unmarshal([]byte(out), &suites))
	require.Equal(t, 1, suites.Errors)
}

// Every result lies at a file of the new export that is there, or that was
// there before.
func TestSarifLocations(t *testing.T) {
	_, out, _ := whatif("diff", before, after, "-format", "sarif")
	var log sarifLog
	require.NoError(t, json.Unmarshal([]byte(out), &log))
	require.NotEmpty(t, log.Runs[0].Results)
	for _, r := range log.Runs[0].Results {
		uri := r.Locations[0].Physical.Artifact.URI
		_, err := os.Stat(uri)
		_, old := os.Stat(strings.Replace(uri, after, before, 1))
		require.True(t, err == nil || old == nil, uri)
		require.Equal(t, sarifRules[r.RuleIndex].ID, r.RuleID)
	}
}

func TestDiffPage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "d.html")
	_, _, errs := whatif("diff", before, after, "-matrix", "testdata/change/personas.json", "-html", file)
	require.Empty(t, errs)
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	page := string(data)
	elements(t, page)
	require.Contains(t, page, `id="changed"`)
	require.Contains(t, page, "What changed")
	require.Contains(t, page, `<span class="tag k-policy">removed</span>`)
	require.Contains(t, page, `<span class="tag k-policy">added</span>`)
	require.Contains(t, page, "Was: does not apply")
	for _, e := range elements(t, page) {
		if to, ok := e.attrs["popovertarget"]; ok {
			require.Contains(t, page, `id="`+to+`"`)
		}
	}
}

func TestBadDiff(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"", "compares two exports"},
		{before, "compares two exports"},
		{before + " " + after + " third", "compares two exports"},
		{before + " " + after + " -format yaml", "text, json, junit, sarif"},
		{before + " " + after + " -fail-on tightened", "any, loosened or none"},
		{before + " /nowhere", "there is no /nowhere"},
		{before + " " + after + " -matrix /nowhere.json", "there is no /nowhere.json"},
		{before + " " + after + " -o /no/such/folder/x", "there is no"},
	} {
		status, out, errs := whatif(append([]string{"diff"}, strings.Fields(c.args)...)...)
		require.Equal(t, statusBadInput, status, c.args)
		require.Empty(t, out)
		require.Contains(t, errs, c.says)
		require.Equal(t, 1, strings.Count(errs, "\n"), errs)
	}
	status, _, errs := whatif("diff", "-h")
	require.Zero(t, status)
	require.Contains(t, errs, "-fail-on")
}

// A baseline against another: the gate speaks of real exports.
func TestCorpusDiffs(t *testing.T) {
	needCorpus(t)
	sets := corpus + "/AlexFilipin__ConditionalAccess/PolicySets/"
	status, out, _ := whatif("diff", sets+"Bare_minimum", sets+"Category_structure_for_AADP1", "-as-enabled")
	require.Contains(t, []int{statusUnexpected, statusIncomplete}, status)
	require.Contains(t, out, "added    policy ")
	last := strings.TrimSpace(out[strings.LastIndex(strings.TrimSpace(out), "\n"):])
	t.Log(last)
	require.Contains(t, last, "tightened")
}
