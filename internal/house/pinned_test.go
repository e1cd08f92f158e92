package house

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	usesLine = regexp.MustCompile(`^\s*(?:-\s*)?uses:`)
	pinned   = regexp.MustCompile(`^\s*(?:-\s*)?uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
)

// unpinned returns the lines of a workflow that use an action by a name that its
// owner can move: a tag, a branch, an image.
func unpinned(workflow string) (bad []string, actions int) {
	for line := range strings.Lines(workflow) {
		line = strings.TrimRight(line, "\n")
		if !usesLine.MatchString(line) {
			continue
		}
		actions++
		if !pinned.MatchString(line) {
			bad = append(bad, strings.TrimSpace(line))
		}
	}
	return bad, actions
}

// Each action of each workflow is pinned by the hash of a commit, with its version
// in a comment, which is what Dependabot raises.
func TestActionsArePinned(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", ".github", "workflows", "*.y*ml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		bad, actions := unpinned(read(t, file))
		require.Empty(t, bad, file)
		require.NotZero(t, actions, file)
	}
	sha := strings.Repeat("0123456789", 4)
	bad, actions := unpinned("- uses: a/b@" + sha + " # v1.2.3\n- uses: a/b/c@" + sha + " # v1.2.3\n" +
		"- uses: a/b@v1\n  uses: a/b@main # v1.2.3\n- uses: a/b@" + sha + "\n- uses: docker://alpine\n- uses: ./here\n")
	require.Equal(t, 7, actions)
	require.Len(t, bad, 5)
}

// Each module that requires anything has a go.sum, so that what is downloaded is
// what was reviewed; and only our own module is replaced, by a directory.
func TestModulesArePinned(t *testing.T) {
	dependabot := read(t, filepath.Join("..", "..", ".github", "dependabot.yml"))
	for _, dir := range modules(t) {
		name := strings.TrimPrefix(filepath.ToSlash(dir), "../..")
		require.Contains(t, dependabot, `"`+max(name, "/")+`"`, "Dependabot looks at each")
		text := read(t, filepath.Join(dir, "go.mod"))
		require.Contains(t, text, "require", dir)
		sum, err := os.Stat(filepath.Join(dir, "go.sum"))
		require.NoError(t, err)
		require.NotZero(t, sum.Size(), dir)
		for line := range strings.Lines(text) {
			if strings.Contains(line, "=>") {
				require.Regexp(t, `^replace github\.com/prtbroker/prtbroker\S* => \.\.?/`, line, dir)
			}
		}
	}
}

// modules are the directories of all modules of this repository.
func modules(t *testing.T) (dirs []string) {
	t.Helper()
	root := filepath.Join("..", "..")
	require.NoError(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && path != root && (strings.HasPrefix(e.Name(), ".") || e.Name() == "node_modules"):
			return filepath.SkipDir
		case e.Name() == "go.mod":
			dirs = append(dirs, filepath.Dir(path))
		}
		return nil
	}))
	require.Greater(t, len(dirs), 4)
	return dirs
}
