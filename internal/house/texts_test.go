package house

import (
	"bytes"
	"fmt"
	"go/ast"
	gobuild "go/build"
	"go/constant"
	"go/parser"
	"go/types"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Error texts are part of the API, and what a program prints is all that most
// users see of it. Both are written down, so that a change is reviewed as text.
func TestTexts(t *testing.T) {
	t.Parallel()
	var errs, output bytes.Buffer
	paths := slices.Sorted(maps.Keys(load(t)))
	for _, path := range paths {
		info := types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
		files := checkWith(t, path, &info)
		name := strings.TrimPrefix(path, module+"/")
		switch {
		case load(t)[path].Name() == "main" && !strings.HasPrefix(name, "examples/"):
			continue // a tool of this repository
		case load(t)[path].Name() == "main", name == "broker/why", name == "internal/aadsts":
			section(&output, name, sentences(files, &info))
		default:
			section(&errs, name, errorTexts(files, &info))
		}
	}
	for _, dir := range nestedPackages(t) {
		info := types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
		if files := checkNested(t, dir, &info); files[0].Name.Name != "main" {
			section(&errs, dir, errorTexts(files, &info))
		}
	}
	golden(t, "errors.txt", errs.String())
	golden(t, "output.txt", output.String())
}

// nestedPackages lists the directories of packages in the nested modules, from the root.
func nestedPackages(t *testing.T) (dirs []string) {
	t.Helper()
	root := filepath.Join("..", "..")
	nested := ""
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if name := d.Name(); path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") {
			return fs.SkipDir
		}
		if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil && path != root {
			nested = path
		}
		if nested == "" || path != nested && !strings.HasPrefix(path, nested+string(filepath.Separator)) {
			return nil
		}
		if p, err := gobuild.ImportDir(path, 0); err == nil && len(p.GoFiles) > 0 {
			rel, err := filepath.Rel(root, path)
			dirs = append(dirs, filepath.ToSlash(rel))
			return err
		}
		return nil
	})
	require.NoError(t, err)
	require.NotEmpty(t, dirs)
	return dirs
}

// checkNested is checkWith for a package of a nested module. What it imports from
// other modules is not compiled for this: expressions of their types have no type.
func checkNested(t *testing.T, dir string, info *types.Info) (files []*ast.File) {
	t.Helper()
	sources.mu.Lock()
	defer sources.mu.Unlock()
	build(t)
	path := filepath.Join("..", "..", filepath.FromSlash(dir))
	p, err := gobuild.ImportDir(path, 0)
	require.NoError(t, err)
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(sources.fset, filepath.Join(path, name), nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		files = append(files, f)
	}
	conf := types.Config{Importer: known{}, Error: func(error) {}}
	_, _ = conf.Check(module+"/"+dir, sources.fset, files, info)
	return files
}

// known imports what this module is built from, and nothing else.
type known struct{}

func (known) Import(path string) (*types.Package, error) {
	if path != "unsafe" && sources.built[path].Export == "" {
		return nil, fmt.Errorf("%s is not a dependency of this module", path)
	}
	return sources.from.Import(path)
}

func section(to *bytes.Buffer, name string, texts map[string]bool) {
	if len(texts) == 0 {
		return
	}
	fmt.Fprintf(to, "# %s\n", name)
	for _, s := range slices.Sorted(maps.Keys(texts)) {
		fmt.Fprintf(to, "%q\n", s)
	}
	fmt.Fprintln(to)
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o600))
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != got {
		t.Errorf("the texts in %s have changed. Review the difference:\n\tgo test ./internal/house -run TestTexts -update && git diff -- internal/house/testdata\n%s",
			name, firstDifference(string(want), got))
	}
}

// errorTexts finds the texts of a package's errors: what is given to errors.New,
// fmt.Errorf, panic or a function of this module that makes nothing but an error,
// what is put into a type that is an error, and what its method Error returns.
func errorTexts(files []*ast.File, info *types.Info) map[string]bool {
	texts := map[string]bool{}
	add := func(e ast.Expr) {
		if s, ok := text(e, info); ok {
			texts[s] = true
		}
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if makesError(n, info) {
					for _, arg := range n.Args {
						add(arg)
					}
				}
			case *ast.CompositeLit:
				if isError(info.TypeOf(n)) {
					for _, e := range n.Elts {
						if kv, ok := e.(*ast.KeyValueExpr); ok {
							e = kv.Value
						}
						add(e)
					}
				}
			case *ast.FuncDecl:
				if n.Recv != nil && n.Name.Name == "Error" && n.Body != nil {
					maps.Copy(texts, strs(n.Body, info))
				}
			}
			return true
		})
	}
	return texts
}

func makesError(call *ast.CallExpr, info *types.Info) bool {
	if t, ok := info.Types[call.Fun]; ok && t.IsType() {
		return false
	}
	var id *ast.Ident
	switch fun := ast.Unparen(call.Fun).(type) {
	case *ast.Ident:
		id = fun
	case *ast.SelectorExpr:
		id = fun.Sel
	default:
		return false
	}
	switch f := info.Uses[id].(type) {
	case *types.Builtin:
		return f.Name() == "panic"
	case *types.Func:
		if full := f.FullName(); full == "errors.New" || full == "fmt.Errorf" {
			return true
		}
		return f.Pkg() != nil && strings.HasPrefix(f.Pkg().Path(), module) && isError(info.TypeOf(call))
	case *types.Var: // a closure
		return isError(info.TypeOf(call))
	}
	return false
}

var errorType = types.Universe.Lookup("error").Type().Underlying().(*types.Interface)

func isError(t types.Type) bool {
	return t != nil && (types.Implements(t, errorType) || types.Implements(types.NewPointer(t), errorType))
}

// sentences finds what a program may print: its strings of more than one word.
func sentences(files []*ast.File, info *types.Info) map[string]bool {
	texts := map[string]bool{}
	for _, f := range files {
		for s := range strs(f, info) {
			if strings.Contains(strings.TrimSpace(s), " ") {
				texts[s] = true
			}
		}
	}
	return texts
}

// strs finds the constant strings in a piece of source, the longest of those
// that are joined.
func strs(n ast.Node, info *types.Info) map[string]bool {
	texts := map[string]bool{}
	ast.Inspect(n, func(n ast.Node) bool {
		if e, ok := n.(ast.Expr); ok {
			if s, ok := text(e, info); ok {
				texts[s] = true
				return false
			}
		}
		return true
	})
	return texts
}

// text is the value of a constant string that has a letter.
func text(e ast.Expr, info *types.Info) (string, bool) {
	tv, ok := info.Types[e]
	if !ok || tv.Value == nil || tv.Value.Kind() != constant.String {
		return "", false
	}
	s := constant.StringVal(tv.Value)
	return s, strings.ContainsFunc(s, func(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' })
}
