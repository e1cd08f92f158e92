package house

import (
	"go/ast"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// maxHops is how many functions a reader passes from a call for a token to the
// request that gets it.
const maxHops = 8

var hopPattern = regexp.MustCompile("(?m)^[0-9]+\\. `([A-Za-z.]+)`")

// The silent token reads as ARCHITECTURE.md says: each function that it names
// calls the next one itself, or has been given what calls it.
func TestSilentChain(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "ARCHITECTURE.md"))
	require.NoError(t, err)
	_, section, ok := strings.Cut(string(text), "\n## A silent token\n")
	require.True(t, ok, "ARCHITECTURE.md has no section about a silent token")
	section, _, _ = strings.Cut(section, "\n## ")
	var chain []string
	for _, m := range hopPattern.FindAllStringSubmatch(section, -1) {
		name := m[1]
		if strings.Count(name, ".") == 1 {
			name = "broker." + name
		}
		chain = append(chain, name)
	}
	require.NotEmpty(t, chain)
	require.LessOrEqual(t, len(chain), maxHops, "hops of a silent token")
	require.Equal(t, "broker.Broker.AcquireTokenSilent", chain[0])
	require.Equal(t, "sts.Client.Do", chain[len(chain)-1])

	calls := map[string]callsOf{}
	for _, dir := range []string{"broker", "broker/internal/signon", "broker/internal/sts"} {
		addCalls(t, module+"/"+dir, calls)
	}
	for i, callee := range chain[1:] {
		caller := chain[i]
		require.Contains(t, calls, caller, "no such function")
		given := i > 0 && calls[chain[i-1]].givenTo[caller][callee]
		if !calls[caller].itself[callee] && !given {
			t.Errorf("%s does not call %s, which follows it in ARCHITECTURE.md", caller, callee)
		}
	}
}

// callsOf is what the body of a function calls.
type callsOf struct {
	itself  map[string]bool            // function literals included
	givenTo map[string]map[string]bool // in function literals that it gives to another function
}

// addCalls adds the functions of a package, each as package.Type.Method or
// package.Func.
func addCalls(t *testing.T, path string, to map[string]callsOf) {
	t.Helper()
	info := types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	for _, f := range checkWith(t, path, &info) {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			c := callsOf{itself: called(fn.Body, &info), givenTo: map[string]map[string]bool{}}
			ast.Inspect(fn.Body, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				for _, arg := range call.Args {
					if lit, ok := arg.(*ast.FuncLit); ok {
						for callee := range called(call.Fun, &info) {
							c.givenTo[callee] = called(lit, &info)
						}
					}
				}
				return true
			})
			to[shortName(info.Defs[fn.Name].(*types.Func))] = c
		}
	}
}

// called returns the functions that are named in a piece of source.
func called(n ast.Node, info *types.Info) map[string]bool {
	names := map[string]bool{}
	ast.Inspect(n, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			if f, ok := info.Uses[id].(*types.Func); ok && f.Pkg() != nil {
				names[shortName(f)] = true
			}
		}
		return true
	})
	return names
}

func shortName(f *types.Func) string {
	name := f.Name()
	if r := f.Signature().Recv(); r != nil {
		t := r.Type()
		if p, ok := t.(*types.Pointer); ok {
			t = p.Elem()
		}
		if n, ok := t.(*types.Named); ok {
			name = n.Obj().Name() + "." + name
		}
	}
	return f.Pkg().Name() + "." + name
}
