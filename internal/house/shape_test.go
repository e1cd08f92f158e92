package house

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// maxFiles is how many files, tests aside, a package has at most.
const maxFiles = 40

// ceilings bound how many unexported functions hang on the type that a face is
// built around, or take it: what hangs on it may call everything else that does.
// They only fall: one that is higher than the count is an error too. A function
// that a room can do without the face belongs there.
var ceilings = []struct {
	pkg, typ string
	most     int
}{
	{"broker", "Broker", 63},
	{"broker/entratest", "Server", 4},
}

func TestFacesStaySmall(t *testing.T) {
	t.Parallel()
	for _, c := range ceilings {
		p := load(t)[module+"/"+c.pkg]
		require.NotNil(t, p, c.pkg)
		got := hangingOn(p, c.typ)
		if len(got) > c.most {
			t.Errorf("%d unexported functions hang on or take %s.%s; at most %d may:\n\t%s", len(got), c.pkg, c.typ, c.most, strings.Join(got, "\n\t"))
		}
		if len(got) < c.most {
			t.Errorf("%d unexported functions hang on or take %s.%s, fewer than the %d of its ceiling: lower it", len(got), c.pkg, c.typ, c.most)
		}
	}
}

// hangingOn names the unexported functions and methods of a package whose
// receiver or parameter is a type of it.
func hangingOn(p *types.Package, name string) (names []string) {
	typ := p.Scope().Lookup(name).Type()
	is := func(v *types.Var) bool {
		if v == nil {
			return false
		}
		t := v.Type()
		if ptr, ok := t.(*types.Pointer); ok {
			t = ptr.Elem()
		}
		return types.Identical(t, typ)
	}
	look := func(f *types.Func) {
		s := f.Signature()
		hit := is(s.Recv())
		for v := range s.Params().Variables() {
			hit = hit || is(v)
		}
		if hit && !f.Exported() {
			names = append(names, f.Name())
		}
	}
	for _, n := range p.Scope().Names() {
		switch o := p.Scope().Lookup(n).(type) {
		case *types.Func:
			look(o)
		case *types.TypeName:
			if t, ok := o.Type().(*types.Named); ok && !o.IsAlias() {
				for m := range t.Methods() {
					look(m)
				}
			}
		}
	}
	return names
}

func TestPackagesStaySmall(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, module+"/...") {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		if n := len(p.GoFiles); n > maxFiles {
			t.Errorf("package %s has %d files; at most %d: it wants another room", name, n, maxFiles)
		}
	}
}

// What a package exports is named and documented where its users can see it.
func TestNoInternalTypeIsShown(t *testing.T) {
	t.Parallel()
	for path, p := range load(t) {
		if strings.Contains(path+"/", "/internal/") || p.Name() == "main" {
			continue
		}
		for _, n := range p.Scope().Names() {
			if o := p.Scope().Lookup(n); o.Exported() {
				for _, where := range shows(o) {
					t.Errorf("%s.%s shows a type of an internal package", strings.TrimPrefix(path, module+"/"), where)
				}
			}
		}
	}
}

// shows returns what an exported object shows of internal packages, each as the
// object or its member.
func shows(o types.Object) (where []string) {
	if isInternal(o.Type(), nil) {
		if _, ok := o.(*types.TypeName); !ok || o.(*types.TypeName).IsAlias() {
			where = append(where, o.Name())
		}
	}
	tn, ok := o.(*types.TypeName)
	if !ok || tn.IsAlias() {
		return where
	}
	named, ok := tn.Type().(*types.Named)
	if !ok {
		return where
	}
	for m := range named.Methods() {
		if m.Exported() && isInternal(m.Type(), nil) {
			where = append(where, o.Name()+"."+m.Name())
		}
	}
	switch u := named.Underlying().(type) {
	case *types.Struct:
		for f := range u.Fields() {
			if f.Exported() && isInternal(f.Type(), nil) {
				where = append(where, o.Name()+"."+f.Name())
			}
		}
	case *types.Interface:
		for m := range u.Methods() {
			if m.Exported() && isInternal(m.Type(), nil) {
				where = append(where, o.Name()+"."+m.Name())
			}
		}
	default:
		if isInternal(u, nil) {
			where = append(where, o.Name())
		}
	}
	return where
}

// isInternal reports whether a type names one of an internal package of ours.
func isInternal(t types.Type, seen []types.Type) bool {
	for _, s := range seen {
		if s == t {
			return false
		}
	}
	seen = append(seen, t)
	switch t := t.(type) {
	case *types.Alias:
		return ofInternal(t.Obj()) || isInternal(t.Rhs(), seen)
	case *types.Named:
		for a := range t.TypeArgs().Types() {
			if isInternal(a, seen) {
				return true
			}
		}
		return ofInternal(t.Obj())
	case *types.Pointer:
		return isInternal(t.Elem(), seen)
	case *types.Slice:
		return isInternal(t.Elem(), seen)
	case *types.Array:
		return isInternal(t.Elem(), seen)
	case *types.Chan:
		return isInternal(t.Elem(), seen)
	case *types.Map:
		return isInternal(t.Key(), seen) || isInternal(t.Elem(), seen)
	case *types.Signature:
		for v := range t.Params().Variables() {
			if isInternal(v.Type(), seen) {
				return true
			}
		}
		for v := range t.Results().Variables() {
			if isInternal(v.Type(), seen) {
				return true
			}
		}
	}
	return false
}

func ofInternal(o *types.TypeName) bool {
	return o.Pkg() != nil && strings.HasPrefix(o.Pkg().Path(), module) && strings.Contains(o.Pkg().Path()+"/", "/internal/")
}

// sources are the packages of this module, which are type-checked from their
// sources, without tests, over the export data of what they import.
var sources struct {
	mu      sync.Mutex // guards all below; an importer is for one goroutine
	built   map[string]pkg
	fset    *token.FileSet
	from    types.Importer
	checked map[string]*types.Package
}

// load type-checks them all.
func load(t *testing.T) map[string]*types.Package {
	t.Helper()
	sources.mu.Lock()
	defer sources.mu.Unlock()
	if sources.checked != nil {
		return sources.checked
	}
	all := map[string]*types.Package{}
	for path, p := range build(t) {
		if strings.HasPrefix(path, module) && len(p.GoFiles) > 0 {
			all[path], _ = check(t, path, nil)
		}
	}
	sources.checked = all
	return all
}

// checkWith type-checks one and tells what its identifiers are.
func checkWith(t *testing.T, path string, info *types.Info) []*ast.File {
	t.Helper()
	sources.mu.Lock()
	defer sources.mu.Unlock()
	_, files := check(t, path, info)
	return files
}

// build lists the packages with what they import. Its callers hold sources.mu,
// and those of check.
func build(t *testing.T) map[string]pkg {
	t.Helper()
	if sources.built != nil {
		return sources.built
	}
	all := map[string]pkg{}
	for _, p := range list(t, "-export", "-deps", module+"/...") {
		all[p.ImportPath] = p
	}
	sources.built, sources.fset = all, token.NewFileSet()
	sources.from = importer.ForCompiler(sources.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(all[path].Export) })
	return all
}

func check(t *testing.T, path string, info *types.Info) (*types.Package, []*ast.File) {
	t.Helper()
	p := build(t)[path]
	var files []*ast.File
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(sources.fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		files = append(files, f)
	}
	conf := types.Config{Importer: sources.from}
	checked, err := conf.Check(path, sources.fset, files, info)
	require.NoError(t, err)
	return checked, files
}
