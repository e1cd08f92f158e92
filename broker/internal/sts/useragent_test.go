package sts

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is sent names the release, so that a tenant's log tells which one asked.
func TestVersionIn(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		info *debug.BuildInfo
		want string
	}{
		"no build information":                      {nil, "devel"},
		"a program of ours, installed at a release": {&debug.BuildInfo{Main: debug.Module{Path: module, Version: "v0.1.0"}}, "0.1.0"},
		"a program of ours, in a clone":             {&debug.BuildInfo{Main: debug.Module{Path: module, Version: "(devel)"}}, "devel"},
		"a program that requires a release": {&debug.BuildInfo{
			Main: debug.Module{Path: "example.com/app", Version: "v3.0.0"},
			Deps: []*debug.Module{{Path: "example.com/other", Version: "v2.0.0"}, {Path: module, Version: "v0.2.0"}},
		}, "0.2.0"},
		"over a clone": {&debug.BuildInfo{
			Main: debug.Module{Path: "example.com/app"},
			Deps: []*debug.Module{{Path: module, Version: "v0.0.0", Replace: &debug.Module{Path: "../prtbroker"}}},
		}, "devel"},
		"over a fork": {&debug.BuildInfo{
			Deps: []*debug.Module{{Path: module, Version: "v0.1.0", Replace: &debug.Module{Path: "example.com/fork", Version: "v0.1.1"}}},
		}, "0.1.1"},
		"a program without us": {&debug.BuildInfo{Main: debug.Module{Path: "example.com/app", Version: "v1.0.0"}}, "devel"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, versionIn(tt.info))
		})
	}
	require.Regexp(t, `^prtbroker/[^ ()]+ \([^()]+\)$`, DefaultUserAgent())
}
