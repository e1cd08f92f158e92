package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// discount takes the changes that do not compile out of a report: go test fails for
// them, which gremlins takes for a test that noticed. They are those from + to - where
// the operands are strings.
func (r *report) discount(ctx context.Context, pkg string) error {
	joins, err := joined(ctx, pkg)
	if err != nil {
		return err
	}
	root, err := filepath.Abs(pkg)
	if err != nil {
		return err
	}
	for i, f := range r.Files {
		file := filepath.Join(root, filepath.FromSlash(f.Name))
		for j, m := range f.Mutations {
			if m.Type == "ARITHMETIC_BASE" && joins[place{file, m.Line, m.Column}] {
				r.Files[i].Mutations[j].Status = "NOT VIABLE"
			}
		}
	}
	return nil
}

// A place is that of an operator in a source.
type place struct {
	file         string
	line, column int
}

// A listing is what go list says of a package.
type listing struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
	DepOnly                 bool
}

// joined finds each + between strings in a package and those below it.
func joined(ctx context.Context, pkg string) (map[place]bool, error) {
	c, chosen, err := newChecker(ctx, "./"+filepath.ToSlash(filepath.Clean(pkg))+"/...")
	if err != nil {
		return nil, err
	}
	for _, p := range chosen {
		if err := c.check(p); err != nil {
			return nil, err
		}
	}
	return c.joins, nil
}

// A checker type-checks packages over the export data of what they import.
type checker struct {
	fset  *token.FileSet
	from  types.Importer
	joins map[place]bool
}

// newChecker returns a checker for packages, and what go list says of them.
func newChecker(ctx context.Context, patterns ...string) (*checker, []listing, error) {
	args := append([]string{"list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,DepOnly"}, patterns...)
	listed, err := exec.CommandContext(ctx, "go", args...).Output()
	if err != nil {
		return nil, nil, fmt.Errorf("go list: %w", err)
	}
	exports := map[string]string{}
	var chosen []listing
	for d := json.NewDecoder(bytes.NewReader(listed)); ; {
		var p listing
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, nil, err
		}
		exports[p.ImportPath] = p.Export
		if !p.DepOnly {
			chosen = append(chosen, p)
		}
	}
	c := &checker{fset: token.NewFileSet(), joins: map[place]bool{}}
	c.from = importer.ForCompiler(c.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	return c, chosen, nil
}

// parse reads and type-checks a package.
func (c *checker) parse(p listing) ([]*ast.File, *types.Info, error) {
	var files []*ast.File
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(c.fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			return nil, nil, err
		}
		files = append(files, f)
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	_, err := (&types.Config{Importer: c.from}).Check(p.ImportPath, c.fset, files, info)
	return files, info, err
}

func (c *checker) check(p listing) error {
	_, info, err := c.parse(p)
	if err != nil {
		return err
	}
	for e, t := range info.Types {
		if b, ok := e.(*ast.BinaryExpr); ok && b.Op == token.ADD && isString(t.Type) {
			at := c.fset.Position(b.OpPos)
			c.joins[place{at.Filename, at.Line, at.Column}] = true
		}
	}
	return nil
}

func isString(t types.Type) bool {
	basic, ok := t.Underlying().(*types.Basic)
	return ok && basic.Info()&types.IsString != 0
}
