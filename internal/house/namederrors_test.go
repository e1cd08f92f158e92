package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A test that takes any error takes the wrong one too: each says which error it
// wants, by ErrorIs, ErrorAs, ErrorContains or EqualError.
func TestTestsNameTheirErrors(t *testing.T) {
	t.Parallel()
	files := 0
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		files++
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, at := range anyErrors(f) {
			t.Errorf("%s: any error will do: say which by ErrorIs, ErrorAs or ErrorContains", fset.Position(at))
		}
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, files, 300)
}

// anyErrors finds the calls require.Error, assert.Error and the like in a file.
func anyErrors(f *ast.File) (at []token.Pos) {
	ast.Inspect(f, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != "Error" && sel.Sel.Name != "Errorf" {
			return true
		}
		if pkg, ok := sel.X.(*ast.Ident); ok && (pkg.Name == "require" || pkg.Name == "assert") {
			at = append(at, sel.Pos())
		}
		return true
	})
	return at
}

func TestAnyErrorsAreFound(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]int{
		`require.Error(t, err)`:              1,
		`require.Errorf(t, err, "says %s")`:  1,
		`assert.Error(t, err, "a message")`:  1,
		`check := require.Error; check(t,e)`: 1,
		`require.ErrorIs(t, err, ErrBad)`:    0,
		`t.Error(err)`:                       0,
		`_ = err.Error()`:                    0,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "x_test.go", "package x\nfunc f() {\n"+src+"\n}", parser.SkipObjectResolution)
		require.NoError(t, err)
		require.Len(t, anyErrors(f), want, src)
	}
}
