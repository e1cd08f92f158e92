package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// The changes that gremlins makes to operators, under its names, and one more:
// an if whose condition is never true, which is a check that was removed.
const (
	negation   = "CONDITIONALS_NEGATION"
	boundary   = "CONDITIONALS_BOUNDARY"
	logical    = "INVERT_LOGICAL"
	arithmetic = "ARITHMETIC_BASE"
	removal    = "CHECK_REMOVED"
)

var (
	negated = map[token.Token]token.Token{
		token.EQL: token.NEQ, token.NEQ: token.EQL, token.LSS: token.GEQ, token.GEQ: token.LSS, token.GTR: token.LEQ, token.LEQ: token.GTR,
	}
	bounded = map[token.Token]token.Token{
		token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ, token.GEQ: token.GTR,
	}
	turned = map[token.Token]token.Token{
		token.ADD: token.SUB, token.SUB: token.ADD, token.MUL: token.QUO, token.QUO: token.MUL, token.REM: token.MUL,
	}
)

// A site is an expression that changes are compiled into. Which of them is made,
// if any, is decided when the program starts.
type site struct {
	from, to int // the expression's bytes in the file
	first    int // the number of its first change
	binary   *ast.BinaryExpr
	typ      string // of a binary expression that calculates; otherwise empty
}

// A schema is a package with all of its changes compiled in.
type schema struct {
	pkg     string     // its directory below the root
	name    string     // of the package clause
	changes []survivor // by number, from base+1 on
	base    int
	files   map[string][]byte // by path: what the compiler shall read instead
}

// changed reads a package and compiles changes into it, with numbers above base.
func (c *checker) changed(p listing, pkg string, base int) (*schema, error) {
	files, info, err := c.parse(p)
	if err != nil {
		return nil, err
	}
	s := &schema{pkg: pkg, base: base, files: map[string][]byte{}}
	for _, f := range files {
		s.name = f.Name.Name
		path := c.fset.Position(f.Package).Filename
		src, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		w := &rewriter{schema: s, fset: c.fset, info: info, src: src}
		s.files[path] = w.rewrite(f)
	}
	s.files[filepath.Join(p.Dir, "zz_mutants.go")] = fmt.Appendf(nil, support, s.name, base, len(s.changes)+1)
	return s, nil
}

// support is what the changed package needs; its verbs are the package's name, and
// where its numbers begin and how many there are. A change that is reached for the
// first time is written down if the environment says where. That allocates nothing
// from the second time on, which some tests count.
const support = `package %s

import (
	"os"
	"strconv"
	"sync/atomic"
)

const zzBase = %d

var (
	zzChosen, _ = strconv.Atoi(os.Getenv("MUTANT"))
	zzReached   = os.Getenv("MUTANTS_REACHED")
	zzSeen      [%d]atomic.Bool
)

func zzIs(n int) bool {
	if zzReached != "" && !zzSeen[n-zzBase].Swap(true) {
		zzNote(n)
	}
	return n == zzChosen
}

func zzNote(n int) {
	f, err := os.OpenFile(zzReached, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		panic(err)
	}
	if _, err := f.WriteString(strconv.Itoa(n) + "\n"); err != nil {
		panic(err)
	}
	if err := f.Close(); err != nil {
		panic(err)
	}
}

func zzIf(n int, cond bool) bool { return cond && !zzIs(n) }

func zzAnd(n int, a, b func() bool) bool {
	if zzIs(n) {
		return a() || b()
	}
	return a() && b()
}

func zzOr(n int, a, b func() bool) bool {
	if zzIs(n) {
		return a() && b()
	}
	return a() || b()
}
`

// A rewriter compiles changes into one file.
type rewriter struct {
	*schema
	fset  *token.FileSet
	info  *types.Info
	src   []byte
	in    string // the function
	sites []site
}

func (w *rewriter) rewrite(f *ast.File) []byte {
	for _, d := range f.Decls {
		w.in = "-"
		if fn, ok := d.(*ast.FuncDecl); ok {
			w.in = nameOf(fn)
		}
		ast.Inspect(d, w.visit)
	}
	sort.SliceStable(w.sites, func(i, j int) bool {
		a, b := w.sites[i], w.sites[j]
		return a.from < b.from || a.from == b.from && a.to > b.to
	})
	var out bytes.Buffer
	w.emit(&out, 0, len(w.src), 0)
	return out.Bytes()
}

func (w *rewriter) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.IfStmt:
		if plainBool(w.info.Types[n.Cond].Type) && !passesOn(n) {
			w.add(n.Cond, site{}, n.If, "if", removal)
		}
	case *ast.BinaryExpr:
		w.binary(n)
	}
	return true
}

// passesOn reports whether an if only returns the error that it found: dropping that
// is a fault of the operation before it, not of a check.
func passesOn(n *ast.IfStmt) bool {
	cond, ok := n.Cond.(*ast.BinaryExpr)
	if !ok || cond.Op != token.NEQ {
		return false
	}
	err, ok := cond.X.(*ast.Ident)
	null, isIdent := cond.Y.(*ast.Ident)
	if !ok || !isIdent || null.Name != "nil" || !strings.HasSuffix(strings.ToLower(err.Name), "err") {
		return false
	}
	if len(n.Body.List) != 1 {
		return false
	}
	_, returns := n.Body.List[0].(*ast.ReturnStmt)
	return returns
}

func (w *rewriter) binary(e *ast.BinaryExpr) {
	t := w.info.Types[e]
	if t.Value != nil || t.Type == nil { // the compiler calculates it
		return
	}
	op := e.Op.String()
	if e.Op == token.LAND || e.Op == token.LOR {
		if plainBool(t.Type) {
			w.add(e, site{binary: e}, e.OpPos, op, logical)
		}
		return
	}
	if _, compares := negated[e.Op]; compares {
		kinds := []string{negation}
		if _, ok := bounded[e.Op]; ok {
			kinds = append(kinds, boundary)
		}
		if plainBool(t.Type) {
			w.add(e, site{binary: e}, e.OpPos, op, kinds...)
		}
		return
	}
	if basic, ok := t.Type.(*types.Basic); ok && turned[e.Op] != 0 && basic.Info()&types.IsInteger != 0 && basic.Info()&types.IsUntyped == 0 {
		w.add(e, site{binary: e, typ: basic.Name()}, e.OpPos, op, arithmetic)
	}
}

// plainBool reports whether a function that returns bool can stand for it.
func plainBool(t types.Type) bool {
	basic, ok := t.(*types.Basic)
	return ok && basic.Info()&types.IsBoolean != 0
}

// add notes a site and its changes, which are of the text at a position.
func (w *rewriter) add(e ast.Expr, s site, at token.Pos, text string, kinds ...string) {
	s.from, s.to = w.offset(e.Pos()), w.offset(e.End())
	s.first = w.base + len(w.changes) + 1
	w.sites = append(w.sites, s)
	p := w.fset.Position(at)
	line := strings.Split(string(w.src), "\n")[p.Line-1]
	code := strings.TrimSpace(line[:p.Column-1] + "«" + text + "»" + line[p.Column-1+len(text):])
	for _, k := range kinds {
		w.changes = append(w.changes, survivor{filepath.ToSlash(w.pkg), w.in, k, code})
	}
}

func (w *rewriter) offset(p token.Pos) int { return w.fset.Position(p).Offset }

// emit writes the bytes from..to with the sites in them, which are numbered from next
// on, and returns the number of the first site after them.
func (w *rewriter) emit(out *bytes.Buffer, from, to, next int) int {
	for next < len(w.sites) && w.sites[next].from < to {
		s := w.sites[next]
		out.Write(w.src[from:s.from])
		next = w.emitSite(out, s, next+1)
		from = s.to
	}
	out.Write(w.src[from:to])
	return next
}

func (w *rewriter) emitSite(out *bytes.Buffer, s site, next int) int {
	if s.binary == nil {
		fmt.Fprintf(out, "zzIf(%d, ", s.first)
		next = w.emit(out, s.from, s.to, next)
		out.WriteString(")")
		return next
	}
	e := s.binary
	var x, y bytes.Buffer
	next = w.emit(&x, w.offset(e.X.Pos()), w.offset(e.X.End()), next)
	next = w.emit(&y, w.offset(e.Y.Pos()), w.offset(e.Y.End()), next)
	switch {
	case e.Op == token.LAND:
		fmt.Fprintf(out, "zzAnd(%d, func() bool { return %s }, func() bool { return %s })", s.first, &x, &y)
	case e.Op == token.LOR:
		fmt.Fprintf(out, "zzOr(%d, func() bool { return %s }, func() bool { return %s })", s.first, &x, &y)
	case s.typ != "":
		fmt.Fprintf(out, "(func() %s { if zzIs(%d) { return %s %s %s }; return %s %s %s }())", s.typ, s.first, &x, turned[e.Op], &y, &x, e.Op, &y)
	default:
		fmt.Fprintf(out, "(func() bool { if zzIs(%d) { return %s %s %s };", s.first, &x, negated[e.Op], &y)
		if op, ok := bounded[e.Op]; ok {
			fmt.Fprintf(out, " if zzIs(%d) { return %s %s %s };", s.first+1, &x, op, &y)
		}
		fmt.Fprintf(out, " return %s %s %s }())", &x, e.Op, &y)
	}
	return next
}

// change returns the change of a number.
func change(schemas []*schema, n int) survivor {
	i, _ := slices.BinarySearchFunc(schemas, n, func(s *schema, n int) int {
		switch {
		case n <= s.base:
			return 1
		case n > s.base+len(s.changes):
			return -1
		}
		return 0
	})
	return schemas[i].changes[n-schemas[i].base-1]
}
