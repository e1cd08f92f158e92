package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

var errDiffers = errors.New("two builds are not the same bytes")

// sameBuilds builds each program twice, each time with an empty cache.
func sameBuilds(ctx context.Context, src *source) ([]result, error) {
	names, err := src.programs(ctx)
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{src.one, src.two} {
		if err := build(ctx, dir); err != nil {
			return nil, err
		}
	}
	var results []result
	for _, name := range names {
		results = append(results, result{name, same(filepath.Join(src.one, "bin", name), filepath.Join(src.two, "bin", name))})
	}
	return results, nil
}

// build builds the programs into bin, with its own cache.
func build(ctx context.Context, dir string) error {
	cache, err := os.MkdirTemp("", "gocache")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(cache) }()
	_, err = command(ctx, dir, []string{"GOCACHE=" + cache, "GOFLAGS=", "CGO_ENABLED=0"},
		"go", "build", "-trimpath", "-buildvcs=false", "-o", "bin/", "./examples/...")
	return err
}

// same prints the sum of a file, if the other is the same.
func same(one, two string) error {
	a, err := os.ReadFile(one)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(two)
	if err != nil {
		return err
	}
	if sha256.Sum256(a) != sha256.Sum256(b) {
		return errDiffers
	}
	fmt.Printf("%x  %s\n", sha256.Sum256(a), filepath.Base(one))
	return nil
}
