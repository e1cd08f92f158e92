package main

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// An export is a tenant, and what it does not represent is said.
func TestGraph(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "users.json"), []byte(`{"value": [{"userPrincipalName": "ann@northwind.example", "displayName": "Ann", "jobTitle": "Designer"}]}`), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "apps.json"), []byte(`{"value": [{"appId": "`+appID+`", "displayName": "Front", "publicClient": {"redirectUris": ["http://localhost"]}}]}`), 0o600))
	var said bytes.Buffer
	o, err := parseOptions([]string{"-graph", dir, "-proxy", "127.0.0.1:0", "-dashboard", "127.0.0.1:0"}, io.Discard)
	require.NoError(t, err)
	ten, err := start(o, &said)
	require.NoError(t, err)
	t.Cleanup(func() { _ = ten.close() })
	require.Equal(t, "northwind.example", ten.srv.Domain())
	require.Contains(t, said.String(), "tenant: -graph: users: not represented: jobTitle\n")
	status, body := signIn(t, ten.throughProxy(t), "ann@northwind.example", "correct horse")
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, body, "AADSTS65001", "the app has no consent in the export")

	_, err = start(options{graph: filepath.Join(dir, "none"), proxy: "127.0.0.1:0", dashboard: "127.0.0.1:0"}, io.Discard)
	require.ErrorContains(t, err, "-graph: seed: ")
	_, err = parseOptions([]string{"-graph", dir, "-config", "x.yaml"}, io.Discard)
	require.ErrorContains(t, err, "give one of them")
}
