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

var goBlock = regexp.MustCompile("(?s)```go\n(.*?)```")

// Every piece of Go in the README stands in a file that is compiled.
func TestReadmeCompiles(t *testing.T) {
	root := filepath.Join("..", "..")
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	blocks := goBlock.FindAllStringSubmatch(string(readme), -1)
	require.NotEmpty(t, blocks)

	var sources []string
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		sources = append(sources, unindented(string(b)))
		return err
	})
	require.NoError(t, err)
	all := strings.Join(sources, "\n")
	for _, b := range blocks {
		if strings.HasPrefix(b[1], "package main") {
			continue // TestReadmeRuns runs it
		}
		require.Contains(t, all, unindented(b[1]))
	}
}

var namedPath = regexp.MustCompile(`\bexamples/[A-Za-z0-9_./-]*[A-Za-z0-9]`)

// What the pages tell somebody to run on is there.
func TestNamedPathsExist(t *testing.T) {
	found := 0
	for _, page := range pages(t) {
		for _, path := range namedPath.FindAllString(read(t, page), -1) {
			found++
			_, err := os.Stat(filepath.Join("..", "..", filepath.FromSlash(path)))
			require.NoError(t, err, page)
		}
	}
	require.NotZero(t, found)
}

// unindented drops what gofmt changes when code moves into a function.
func unindented(s string) string {
	var lines []string
	for line := range strings.SplitSeq(s, "\n") {
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.Join(lines, "\n")
}
