package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A bill is the part of a CycloneDX bill of materials that is read here.
type bill struct {
	Components []component
}

type component struct {
	Name     string
	Version  string
	Evidence struct {
		Licenses []struct {
			License struct{ ID, Name string }
		}
	}
}

// accepted are the licences, by their SPDX ids, that linked modules may have: they ask
// for a notice at most.
var accepted = []string{"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0"}

var (
	errNoLicence = errors.New("no licence was recognised")
	errLicence   = errors.New("its licence is not on the list")
)

// judge reports whether a module may be linked, by the licences that cyclonedx-gomod
// recognizes in its files.
func (c component) judge() error {
	if len(c.Evidence.Licenses) == 0 {
		return errNoLicence
	}
	for _, l := range c.Evidence.Licenses {
		if !slices.Contains(accepted, l.License.ID) {
			return fmt.Errorf("%w: %s%s", errLicence, l.License.ID, l.License.Name)
		}
	}
	return nil
}

// licences judges every module that is in a bill, once.
func licences(ctx context.Context, src *source) ([]result, error) {
	if err := src.describe(ctx); err != nil {
		return nil, err
	}
	linked := map[string]component{}
	for _, b := range src.made {
		for _, c := range b.Components {
			linked[c.Name+"@"+c.Version] = c
		}
	}
	var results []result
	for _, name := range slices.Sorted(maps.Keys(linked)) {
		results = append(results, result{name, linked[name].judge()})
	}
	return results, nil
}

// bills writes the bills and validates them against the schema, with the Python library
// that CycloneDX publishes.
func bills(ctx context.Context, src *source) ([]result, error) {
	if err := src.describe(ctx); err != nil {
		return nil, err
	}
	python, err := src.validator(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: the validator cannot be installed: %w", errNotRun, err)
	}
	var results []result
	for _, name := range slices.Sorted(maps.Keys(src.made)) {
		_, err := command(ctx, src.root, nil, python, filepath.Join("internal", "supply", "validate.py"), src.billOf(name))
		results = append(results, result{name, err})
	}
	return results, nil
}

func (s *source) billOf(name string) string { return filepath.Join(s.keep, name+".cdx.json") }

// describe makes a bill for each program and each module that others import.
func (s *source) describe(ctx context.Context) error {
	if s.made != nil {
		return nil
	}
	if err := os.MkdirAll(s.keep, 0o755); err != nil {
		return err
	}
	programs, err := s.programs(ctx)
	if err != nil {
		return err
	}
	modules, err := s.modules(ctx)
	if err != nil {
		return err
	}
	made := map[string]*bill{}
	for _, name := range programs {
		if made[name], err = s.bill(ctx, name, s.one, "app", "-main", filepath.Join("examples", name)); err != nil {
			return err
		}
	}
	for _, dir := range modules {
		if dir == "tools" || strings.HasPrefix(dir, "internal") {
			continue // nobody can import it
		}
		name := "module-" + strings.ReplaceAll(dir, "/", "-")
		if dir == "." {
			name = "module"
		}
		if made[name], err = s.bill(ctx, name, filepath.Join(s.one, dir), "mod"); err != nil {
			return err
		}
	}
	s.made = made
	return nil
}

func (s *source) bill(ctx context.Context, name, module string, args ...string) (*bill, error) {
	file := s.billOf(name)
	args = append(args, "-json", "-licenses", "-output-version", "1.6", "-output", file, module)
	if _, err := s.tool(ctx, s.one, "cyclonedx-gomod", args...); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	b := &bill{}
	return b, json.Unmarshal(text, b)
}

// validator returns a Python interpreter with what requirements.txt pins.
func (s *source) validator(ctx context.Context) (string, error) {
	dir := filepath.Join(s.root, ".cache", "supply")
	python := filepath.Join(dir, "bin", "python")
	if _, err := command(ctx, s.root, nil, python, "-c", "import cyclonedx.validation.json, jsonschema"); err == nil {
		return python, nil
	}
	if _, err := command(ctx, s.root, nil, "python3", "-m", "venv", dir); err != nil {
		return "", err
	}
	_, err := command(ctx, s.root, nil, python, "-m", "pip", "install", "-q", "--disable-pip-version-check",
		"-r", filepath.Join("internal", "supply", "requirements.txt"))
	return python, err
}
