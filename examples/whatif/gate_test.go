package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// The workflow of docs/policy-gate.md, each of its own steps as it stands there:
// actions are the forge's, and what is installed is the program of this tree.
type workflow struct {
	Jobs map[string]struct {
		Steps []struct {
			Name, Run, Uses string
		}
	}
}

func TestGateWorkflow(t *testing.T) {
	page, err := os.ReadFile("../../docs/policy-gate.md")
	require.NoError(t, err)
	bin := t.TempDir()
	out, err := exec.Command("go", "build", "-o", filepath.Join(bin, "whatif"), ".").CombinedOutput()
	require.NoError(t, err, string(out))

	var w workflow
	require.NoError(t, yaml.Unmarshal([]byte(indentedBlock(t, string(page), "name: Conditional Access")), &w))
	personas := indentedBlock(t, string(page), "{")

	const guarded = `{"id":"1","displayName":"MFA for everybody","state":"enabled","conditions":{"users":{"includeUsers":["All"],
		"excludeUsers":["20000000-0000-4000-8000-0000000000ff"]},"applications":{"includeApplications":["All"]}},
		"grantControls":{"operator":"OR","builtInControls":["mfa"]}}`
	const legacy = `{"id":"2","displayName":"No older protocols","state":"enabled","conditions":{"users":{"includeUsers":["All"],
		"excludeUsers":["20000000-0000-4000-8000-0000000000ff"]},"applications":{"includeApplications":["All"]},
		"clientAppTypes":["exchangeActiveSync","other"]},"grantControls":{"operator":"OR","builtInControls":["block"]}}`
	managed := strings.Replace(guarded, `"OR","builtInControls":["mfa"]`, `"AND","builtInControls":["mfa","compliantDevice"]`, 1)
	for _, c := range []struct {
		name, mfa, legacy string
		fails             string // the step that stops it
	}{
		{"nothing changed", guarded, legacy, ""},
		{"stricter", managed, legacy, ""},
		{"an expectation is broken", strings.Replace(guarded, `"enabled"`, `"disabled"`, 1), legacy, "What must stay true"},
		{"a block is lost", guarded, strings.Replace(legacy, `"enabled"`, `"disabled"`, 1), "Who gains and who loses which control"},
		{"somebody is let off", strings.Replace(guarded, `"excludeUsers":[`, `"excludeUsers":["somebody",`, 1), legacy, "Who gains and who loses which control"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "change")
			put := func(name, text string) {
				require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
			}
			sh := func(script string) ([]byte, error) {
				cmd := exec.Command("bash", "-e", "-c", script)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "BASE=main",
					"GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
				return cmd.CombinedOutput()
			}
			put("policies/mfa.json", guarded)
			put("policies/legacy.json", legacy)
			put("personas.json", personas)
			out, err := sh(`git init -q -b main && git add . && git commit -qm base &&
				git remote add origin . && git fetch -q origin && git switch -qc change`)
			require.NoError(t, err, string(out))
			put("policies/mfa.json", c.mfa)
			put("policies/legacy.json", c.legacy)

			ran := 0
			for _, step := range w.Jobs["gate"].Steps {
				if step.Run == "" || strings.HasPrefix(step.Run, "go install ") {
					continue
				}
				ran++
				out, err := sh(step.Run)
				if err != nil {
					require.Equal(t, c.fails, step.Name, string(out))
					var exit *exec.ExitError
					require.ErrorAs(t, err, &exit)
					require.Equal(t, statusUnexpected, exit.ExitCode(), string(out))
					return
				}
			}
			require.Equal(t, 3, ran, "steps of the page that were run")
			require.Empty(t, c.fails, "nothing stopped it")
			sarif, err := os.ReadFile(filepath.Join(dir, "changes.sarif"))
			require.NoError(t, err)
			require.Contains(t, string(sarif), `"version": "2.1.0"`)
		})
	}
}

// indentedBlock is the block of code of a page that begins with a line.
func indentedBlock(t *testing.T, page, first string) string {
	t.Helper()
	_, rest, ok := strings.Cut(page, "\n\n    "+first+"\n")
	require.True(t, ok, "the page has a block that begins with %q", first)
	text := first + "\n"
	for line := range strings.Lines(rest) {
		code, indented := strings.CutPrefix(line, "    ")
		if !indented && strings.TrimSpace(line) != "" {
			break
		}
		text += code
	}
	return text
}
