package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
)

var jsonBlock = regexp.MustCompile("(?s)```json\n(.*?)```")

// The samples of the documentation have the members that the program prints.
func TestDocumentedJSON(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "dsreg.md"))
	require.NoError(t, err)
	var samples []map[string]json.RawMessage
	for _, b := range jsonBlock.FindAllSubmatch(text, -1) {
		var s map[string]json.RawMessage
		require.NoErrorf(t, json.Unmarshal(b[1], &s), "%s", b[1])
		samples = append(samples, s)
	}
	require.Len(t, samples, 4)
	for i, v := range []any{token{}, joined{}, signedIn{}} {
		require.ElementsMatchf(t, members(v), keys(samples[i]), "%T", v)
	}
	var inner map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(samples[3]["error"], &inner))
	require.ElementsMatch(t, members(failure{}), keys(inner))
	var account, device map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(samples[0]["account"], &account))
	require.ElementsMatch(t, members(broker.Account{}), keys(account))
	require.NoError(t, json.Unmarshal(samples[1]["device"], &device))
	require.ElementsMatch(t, members(broker.Device{}), keys(device))
	for _, list := range []any{broker.Decision{}, finding{}} {
		for _, m := range members(list) {
			require.Contains(t, string(text), `"`+m+`"`)
		}
	}
}

// Every command stands in the documentation.
func TestDocumentedCommands(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "dsreg.md"))
	require.NoError(t, err)
	for _, c := range (&app{}).root().Commands() {
		require.Containsf(t, string(text), "`"+c.Name(), "command %s", c.Name())
		require.NotEmptyf(t, c.Short, "command %s", c.Name())
	}
}

func members(v any) (names []string) {
	t := reflect.TypeOf(v)
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name != "-" {
			names = append(names, name)
		}
	}
	return names
}

func keys(m map[string]json.RawMessage) (names []string) {
	for k := range m {
		names = append(names, k)
	}
	return names
}
