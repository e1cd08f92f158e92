package main

import (
	"archive/zip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	modulePath    = "github.com/prtbroker/prtbroker"
	moduleVersion = "v0.0.1"
)

// go install works for somebody who has nothing but the module's path: the
// checkout is served as a module proxy serves it, and the dependencies come
// from the module cache.
func TestGoInstall(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program anew")
	}
	proxy := t.TempDir()
	writeModule(t, filepath.Join("..", ".."), filepath.Join(proxy, filepath.FromSlash(modulePath), "@v"))
	cache := goEnv(t, "GOMODCACHE")
	bin := t.TempDir()
	cmd := exec.Command("go", "install", modulePath+"/examples/dsreg@"+moduleVersion)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(),
		"GOBIN="+bin, "GOMODCACHE="+t.TempDir(), "GOFLAGS=-modcacherw -trimpath", "CGO_ENABLED=0", "GONOSUMDB="+modulePath, "GOSUMDB=off",
		"GOPROXY=file://"+proxy+",file://"+filepath.Join(cache, "cache", "download"))
	out, err := cmd.CombinedOutput()
	require.NoErrorf(t, err, "%s", out)
	out, err = exec.Command(filepath.Join(bin, "dsreg"), "version").Output()
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(out), "dsreg "+moduleVersion+" (go"), "%s", out)
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

// writeModule writes what a module proxy serves of a checkout (go.dev/ref/mod,
// "GOPROXY protocol"): without nested modules.
func writeModule(t *testing.T, root, dir string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "list"), []byte(moduleVersion+"\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, moduleVersion+".info"), fmt.Appendf(nil, `{"Version":%q}`, moduleVersion), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, moduleVersion+".mod"), mod, 0o644))

	f, err := os.Create(filepath.Join(dir, moduleVersion+".zip"))
	require.NoError(t, err)
	z := zip.NewWriter(f)
	err = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		if d.IsDir() {
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || strings.HasPrefix(d.Name(), ".") {
			return nil
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return copyInto(z, modulePath+"@"+moduleVersion+"/"+filepath.ToSlash(name), path)
	})
	require.NoError(t, err)
	require.NoError(t, z.Close())
	require.NoError(t, f.Close())
}

func copyInto(z *zip.Writer, name, path string) error {
	w, err := z.Create(name)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}
