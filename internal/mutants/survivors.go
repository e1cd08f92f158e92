package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A report is what gremlins writes about a package and those below it.
type report struct {
	Files []struct {
		Name      string `json:"file_name"` // below the package
		Mutations []struct {
			Type   string
			Status string
			Line   int
			Column int
		}
	}
}

func readReport(file string) (*report, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := &report{}
	return r, json.Unmarshal(raw, r)
}

// count is how many changes had each status.
func (r *report) count() map[string]int {
	n := map[string]int{}
	for _, f := range r.Files {
		for _, m := range f.Mutations {
			n[m.Status]++
		}
	}
	return n
}

// A survivor is a change that no test noticed. It is named without line numbers, so
// that code above it may change.
type survivor struct {
	pkg, function, mutation string
	code                    string // the line, with the operator in «»
}

func (s survivor) String() string {
	return s.pkg + " " + s.function + " " + s.mutation + "\n\t" + s.code
}

// survivors names the changes of a report that no test noticed, from the
// source.
func survivors(pkg string, r *report) ([]survivor, error) { return named(pkg, r, "LIVED") }

// named names the changes of a report that have a status.
func named(pkg string, r *report, status string) (list []survivor, err error) {
	for _, f := range r.Files {
		file := filepath.Join(pkg, filepath.FromSlash(f.Name))
		var src []byte
		for _, m := range f.Mutations {
			if m.Status != status {
				continue
			}
			if src == nil {
				if src, err = os.ReadFile(file); err != nil {
					return nil, err
				}
			}
			s, err := locate(src, m.Line, m.Column)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			s.pkg, s.mutation = path.Dir(filepath.ToSlash(file)), m.Type
			list = append(list, s)
		}
	}
	return list, nil
}

// operators are the characters of what gremlins changes.
const operators = "=!<>&|+-*/%^"

// locate names the place of an operator in a source: its function and its line.
func locate(src []byte, line, column int) (survivor, error) {
	lines := bytes.Split(src, []byte("\n"))
	if line < 1 || line > len(lines) || column < 1 || column > len(lines[line-1]) {
		return survivor{}, fmt.Errorf("no line %d, column %d", line, column)
	}
	text, at := string(lines[line-1]), column-1
	end := at
	for end < len(text) && strings.ContainsRune(operators, rune(text[end])) {
		end++
	}
	if end == at {
		return survivor{}, fmt.Errorf("line %d, column %d: no operator", line, column)
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "", src, parser.SkipObjectResolution)
	if err != nil {
		return survivor{}, err
	}
	s := survivor{function: "-", code: strings.TrimSpace(text[:at] + "«" + text[at:end] + "»" + text[end:])}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fset.Position(fn.Pos()).Line <= line && line <= fset.Position(fn.End()).Line {
			s.function = nameOf(fn)
		}
	}
	return s, nil
}

// nameOf is the name of a function, after that of its receiver's type.
func nameOf(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return fn.Name.Name
	}
	for typ := fn.Recv.List[0].Type; ; {
		switch t := typ.(type) {
		case *ast.StarExpr:
			typ = t.X
		case *ast.IndexExpr:
			typ = t.X
		case *ast.IndexListExpr:
			typ = t.X
		case *ast.Ident:
			return t.Name + "." + fn.Name.Name
		default:
			return fn.Name.Name
		}
	}
}

// A reason says why a survivor makes no difference.
type reason struct {
	survivor
	why string
}

var errReasons = errors.New("equivalent.txt: want a line with package, function and mutation, then the code and the reason, each behind a tab")

// parseReasons reads the list. Lines that begin with # are comments.
func parseReasons(text string) (list []reason, err error) {
	lines := slices.DeleteFunc(strings.Split(text, "\n"), func(l string) bool { return strings.HasPrefix(l, "#") || strings.TrimSpace(l) == "" })
	for ; len(lines) > 0; lines = lines[3:] {
		if len(lines) < 3 {
			return nil, fmt.Errorf("%w: %q", errReasons, lines[0])
		}
		name := strings.Fields(lines[0])
		code, coded := strings.CutPrefix(lines[1], "\t")
		why, said := strings.CutPrefix(lines[2], "\t")
		if len(name) != 3 || !coded || !said || !strings.Contains(code, "«") || strings.TrimSpace(why) == "" {
			return nil, fmt.Errorf("%w: %q", errReasons, lines[0])
		}
		list = append(list, reason{survivor{name[0], name[1], name[2], code}, why})
	}
	return list, nil
}

// compare returns the survivors without a reason, and the reasons for what is
// no longer a survivor of the package. What ran out of time, on a busy machine, may
// be one.
func compare(pkg string, found, late []survivor, reasons []reason) (unexplained, stale []survivor) {
	for _, s := range found {
		if !slices.ContainsFunc(reasons, func(r reason) bool { return r.survivor == s }) {
			unexplained = append(unexplained, s)
		}
	}
	pkg = filepath.ToSlash(pkg)
	for _, r := range reasons {
		of := r.pkg == pkg || strings.HasPrefix(r.pkg, pkg+"/")
		if of && r.mutation != removal && !slices.Contains(found, r.survivor) && !slices.Contains(late, r.survivor) {
			stale = append(stale, r.survivor)
		}
	}
	return unexplained, stale
}
