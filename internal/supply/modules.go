package main

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
)

func verifyModules(ctx context.Context, src *source) ([]result, error) {
	return src.each(ctx, func(dir string) error {
		_, err := command(ctx, dir, nil, "go", "mod", "verify")
		return err
	})
}

// unreachable is how govulncheck says that it could not reach its database.
var unreachable = regexp.MustCompile(`fetching vulnerabilities: .*`)

func vulnerabilities(ctx context.Context, src *source) ([]result, error) {
	var missing string
	results, err := src.each(ctx, func(dir string) error {
		if missing != "" {
			return errNotRun
		}
		out, err := src.tool(ctx, dir, "govulncheck", "./...")
		if err != nil {
			missing = unreachable.FindString(out)
		}
		return err
	})
	if missing != "" {
		return nil, fmt.Errorf("%w: the database of vulnerabilities cannot be reached: %s", errNotRun, missing)
	}
	return results, err
}

// each runs a check in every module.
func (s *source) each(ctx context.Context, ask func(dir string) error) ([]result, error) {
	dirs, err := s.modules(ctx)
	if err != nil {
		return nil, err
	}
	var results []result
	for _, dir := range dirs {
		results = append(results, result{dir, ask(filepath.Join(s.one, dir))})
	}
	return results, nil
}
