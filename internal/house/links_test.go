package house

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

var (
	mdLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	mdHeading = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
	mdCode    = regexp.MustCompile("(?ms)^```.*?^```$|`[^`\n]*`")
)

// TestLinks follows every link of every page that stays inside the repository,
// to the heading if it names one.
func TestLinks(t *testing.T) {
	links := 0
	for _, page := range pages(t) {
		for _, m := range mdLink.FindAllStringSubmatch(mdCode.ReplaceAllString(read(t, page), ""), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				require.NotContains(t, m[1], "http://", "%s links without TLS", page)
				continue
			}
			links++
			file := page
			if target != "" {
				file = filepath.Join(filepath.Dir(page), target)
			}
			info, err := os.Stat(file)
			require.NoErrorf(t, err, "%s links to %s", page, m[1])
			if anchor != "" && !info.IsDir() {
				require.Containsf(t, anchors(read(t, file)), anchor, "%s links to %s", page, m[1])
			}
		}
	}
	require.NotZero(t, links)
}

// pages are the Markdown files of the repository.
func pages(t *testing.T) (files []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(filepath.Join("..", ".."), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		installed := strings.HasPrefix(d.Name(), ".") && d.Name() != ".." && d.Name() != ".github"
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || installed) {
			return fs.SkipDir
		}
		if filepath.Ext(path) == ".md" {
			files = append(files, path)
		}
		return nil
	}))
	return files
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

// anchors are what the forge makes of a page's headings: lower case, spaces to
// hyphens, punctuation dropped.
func anchors(page string) (names []string) {
	for _, m := range mdHeading.FindAllStringSubmatch(page, -1) {
		names = append(names, strings.Map(func(r rune) rune {
			switch {
			case r == ' ' || r == '-':
				return '-'
			case r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, m[1]))
	}
	return names
}
