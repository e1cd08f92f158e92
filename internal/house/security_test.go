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
	namedTest = regexp.MustCompile("`([a-z]+)\\.((?:Test|Fuzz)[A-Za-z0-9_]+)`")
	testFunc  = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9_]+)\(`)
)

// Every test that the documents name exists.
func TestDocumentsNameTests(t *testing.T) {
	root := filepath.Join("..", "..")
	have := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllStringSubmatch(string(b), -1) {
			have[filepath.Base(filepath.Dir(path))+"."+m[1]] = true
		}
		return err
	})
	require.NoError(t, err)

	named := map[string]int{}
	for _, page := range pages(t) {
		for _, m := range namedTest.FindAllStringSubmatch(read(t, page), -1) {
			require.Truef(t, have[m[1]+"."+m[2]], "%s names %s.%s, which does not exist", page, m[1], m[2])
			named[filepath.Base(page)]++
		}
	}
	for _, page := range []string{"SECURITY.md", "asked.md", "ARCHITECTURE.md", "why-not-asked.md", "quirks.md"} {
		require.NotZerof(t, named[page], "%s names no test", page)
	}
}
