package policy_test

import (
	"encoding/binary"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/policy"
)

func TestLoadFS(t *testing.T) {
	b, diags, err := policy.LoadFS(fstest.MapFS{
		"policies/a.json":    {Data: []byte(exported)},
		"policies/b.JSON":    {Data: []byte(encoded(exported, binary.LittleEndian, true))},
		"policies/bad.json":  {Data: []byte("{\n,")},
		"old.json/notes.txt": {Data: []byte("#")},
		"readme.md":          {Data: []byte("#")},
		"agreements/t.json":  {Data: []byte(`{"displayName":"Terms","isViewingBeforeAcceptanceRequired":true}`)},
		"policies/time.json": {Data: []byte(`{"state":"enabled","conditions":{"times":{"includeAllTimes":true}}}`)},
	})
	var syntax *policy.SyntaxError
	require.ErrorAs(t, err, &syntax)
	require.Equal(t, "policies/bad.json", syntax.File)
	require.EqualError(t, err, "policy: policies/bad.json: line 2, column 1: "+syntax.Err.Error(), "of that file alone")
	require.Len(t, b.Policies, 3, "a bad file does not hide the others")
	files := map[string]policy.Code{}
	for _, d := range diags {
		files[d.File] = d.Code
	}
	require.Equal(t, map[string]policy.Code{"agreements/t.json": policy.CodeUnknownThing, "policies/time.json": policy.CodeUnmodeled}, files)
}

func TestLoadFSOfNothing(t *testing.T) {
	b, _, err := policy.LoadFS(os.DirFS(filepath.Join(t.TempDir(), "gone")))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Empty(t, b.Policies)
}

// torn is a folder with a file that opens and cannot be read.
type torn struct {
	fstest.MapFS
	name string
}

func (f torn) Open(name string) (fs.File, error) {
	file, err := f.MapFS.Open(name)
	if name == f.name {
		file = unreadable{file}
	}
	return file, err
}

type unreadable struct{ fs.File }

func (unreadable) Read([]byte) (int, error) { return 0, io.ErrNoProgress }

func TestLoadFSNamesTheUnreadableFile(t *testing.T) {
	files := fstest.MapFS{"a.json": {Data: []byte(exported)}, "b.json": {Data: []byte(exported)}}
	b, _, err := policy.LoadFS(torn{files, "a.json"})
	require.ErrorIs(t, err, io.ErrNoProgress)
	require.EqualError(t, err, "policy: reading an export: multiple Read calls return no data or error (a.json)")
	require.Len(t, b.Policies, 1)
}

// What compiling finds is told at the place where loading found the policy.
func TestDiagnosticsNameTheFile(t *testing.T) {
	fsys := fstest.MapFS{
		"a/first.json":  {Data: []byte(`{"value":[{"id":"1","conditions":{},"grantControls":{"builtInControls":["block"]}},{"id":"2","conditions":{"locations":{"includeLocations":["gone"]}},"grantControls":{"builtInControls":["block"]}}]}`)},
		"b/place.json":  {Data: []byte(`{"id":"p","displayName":"P","ipRanges":[{"cidrAddress":"nowhere"}]}`)},
		"c/second.json": {Data: []byte(`{"id":"3","conditions":{},"grantControls":{"builtInControls":["approvedApplication"]}}`)},
	}
	b, _, err := policy.LoadFS(fsys)
	require.NoError(t, err)
	require.Equal(t, policy.Source{File: "a/first.json", Path: "$.value[1]"}, b.Policies[1].Source)
	var got []string
	for _, d := range compile(t, b).Diagnostics() {
		got = append(got, d.File+" "+d.Path+" "+string(d.Code))
	}
	require.ElementsMatch(t, []string{
		"a/first.json $.value[1].conditions.locations.includeLocations[0] no-location",
		"b/place.json $ bad-location",
		"c/second.json $.grantControls.builtInControls retired",
	}, got)
}
