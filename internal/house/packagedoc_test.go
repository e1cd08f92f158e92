package house

import (
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var exampleFunc = regexp.MustCompile(`(?m)^func Example`)

// maxIntroduction is how many lines the code may have that package broker begins
// with.
const maxIntroduction = 15

// The documentation of each public package shows code, and has an example. The
// code is part of a test of that package, so that it compiles.
func TestPackageDocs(t *testing.T) {
	t.Parallel()
	pkgs := list(t, module+"/...")
	for _, dir := range nested(t) {
		pkgs = append(pkgs, listIn(t, dir, "./...")...)
	}
	for _, p := range pkgs {
		if p.Name == "main" || p.ImportPath == module || len(p.GoFiles) == 0 || strings.Contains(p.ImportPath+"/", "/internal/") {
			continue
		}
		tests := testSources(t, p.Dir)
		if !exampleFunc.MatchString(tests) {
			t.Errorf("package %s has no example", p.ImportPath)
		}
		flat, pieces := unindented(tests), 0
		for i, code := range codeOf(packageDoc(t, p)) {
			if !isGo(code) {
				continue // a table
			}
			pieces++
			if !strings.Contains(flat, strings.TrimSpace(unindented(code))) {
				t.Errorf("the documentation of package %s has code that is in none of its tests:\n%s", p.ImportPath, code)
			}
			if p.Name == "broker" && i == 0 {
				require.LessOrEqual(t, strings.Count(code, "\n"), maxIntroduction)
			}
		}
		if pieces == 0 {
			t.Errorf("the documentation of package %s shows no code", p.ImportPath)
		}
	}
}

// packageDoc is the comment above the package clause.
func packageDoc(t *testing.T, p pkg) (text string) {
	t.Helper()
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
		require.NoError(t, err)
		text += f.Doc.Text()
	}
	return text
}

func codeOf(text string) (code []string) {
	for _, b := range new(comment.Parser).Parse(text).Content {
		if c, ok := b.(*comment.Code); ok {
			code = append(code, c.Text)
		}
	}
	return code
}

// isGo reports whether text is a declaration or a statement.
func isGo(text string) bool {
	_, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+text, 0)
	if err == nil {
		return true
	}
	f, err := parser.ParseFile(token.NewFileSet(), "", "package p\nfunc _() {\n"+text+"\n}", parser.SkipObjectResolution)
	return err == nil && len(f.Decls) == 1 && len(f.Decls[0].(*ast.FuncDecl).Body.List) > 0
}

func testSources(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	require.NoError(t, err)
	var all strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		all.Write(b)
	}
	return all.String()
}

// Each exported name has a comment: its own, that of its group, or one behind it.
func TestExportedNamesAreDocumented(t *testing.T) {
	t.Parallel()
	pkgs := list(t, module+"/...")
	for _, dir := range nested(t) {
		pkgs = append(pkgs, listIn(t, dir, "./...")...)
	}
	for _, p := range pkgs {
		if p.Name == "main" || strings.Contains(p.ImportPath+"/", "/internal/") {
			continue
		}
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments)
			require.NoError(t, err)
			for _, d := range f.Decls {
				for _, n := range undocumented(d) {
					t.Errorf("%s.%s has no documentation", strings.TrimPrefix(p.ImportPath, module+"/"), n)
				}
			}
		}
	}
}

func undocumented(d ast.Decl) (names []string) {
	bare := func(doc ...*ast.CommentGroup) bool {
		for _, c := range doc {
			if c != nil {
				return false
			}
		}
		return true
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && bare(d.Doc) && (d.Recv == nil || ast.IsExported(receiver(d.Recv.List[0].Type))) {
			names = append(names, d.Name.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && bare(d.Doc, s.Doc, s.Comment) {
					names = append(names, s.Name.Name)
				}
			case *ast.ValueSpec:
				for _, n := range s.Names {
					if n.IsExported() && bare(d.Doc, s.Doc, s.Comment) {
						names = append(names, n.Name)
					}
				}
			}
		}
	}
	return names
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
