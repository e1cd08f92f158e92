package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A module of which no licence is known is refused, as one is whose licence asks
// for more than a notice, also beside one that does not.
func TestLicences(t *testing.T) {
	for name, c := range map[string]struct {
		evidence string
		want     error
	}{
		"on the list":          {`{"licenses":[{"license":{"id":"MIT"}}]}`, nil},
		"two, both on it":      {`{"licenses":[{"license":{"id":"MIT"}},{"license":{"id":"Apache-2.0"}}]}`, nil},
		"nothing recognised":   {`{}`, errNoLicence},
		"no evidence":          {`null`, errNoLicence},
		"not on the list":      {`{"licenses":[{"license":{"id":"GPL-3.0-only"}}]}`, errLicence},
		"one of two":           {`{"licenses":[{"license":{"id":"MIT"}},{"license":{"id":"LGPL-3.0-or-later"}}]}`, errLicence},
		"a name SPDX has not":  {`{"licenses":[{"license":{"name":"Our licence"}}]}`, errLicence},
		"an entry of no names": {`{"licenses":[{}]}`, errLicence},
	} {
		t.Run(name, func(t *testing.T) {
			var b bill
			require.NoError(t, json.Unmarshal([]byte(`{"components":[{"name":"m","version":"v1","evidence":`+c.evidence+`}]}`), &b))
			require.ErrorIs(t, b.Components[0].judge(), c.want)
		})
	}
}

func TestSameBuild(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	require.NoError(t, same(file("a", "x"), file("b", "x")))
	require.ErrorIs(t, same(file("a", "x"), file("b", "y")), errDiffers)
	require.ErrorIs(t, same(file("a", "x"), filepath.Join(dir, "none")), os.ErrNotExist)
}

// What cannot be asked is not a pass, and -require makes it a failure.
func TestUnreachableDatabase(t *testing.T) {
	said := `govulncheck: fetching vulnerabilities: Get "https://vuln.go.dev/index/modules.json.gz": dial tcp: lookup vuln.go.dev: no such host`
	require.Equal(t, said[len("govulncheck: "):], unreachable.FindString(said))
	require.Empty(t, unreachable.FindString("Your code is affected by 1 vulnerability from 1 module."))
}

func TestUnknownCheck(t *testing.T) {
	require.ErrorContains(t, run(context.Background(), "modules,nothing", t.TempDir(), false), "no such check")
}
