package main

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/why"
)

var jsonBlock = regexp.MustCompile("(?s)```json ([a-z]+)\n(.*?)```")

// samples are those of the documentation, by the word behind "json".
func samples(t *testing.T) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "dsreg.md"))
	require.NoError(t, err)
	all := map[string]any{}
	for _, b := range jsonBlock.FindAllSubmatch(text, -1) {
		var v any
		require.NoErrorf(t, json.Unmarshal(b[2], &v), "%s", b[2])
		all[string(b[1])] = v
	}
	return all
}

// The samples of the documentation have the members that the program prints:
// all, and no others.
func TestDocumentedJSON(t *testing.T) {
	types := map[string]any{
		"token": token{}, "join": joined{}, "signin": signedIn{}, "refresh": broker.PRTStatus{}, "status": broker.Status{},
		"hello": broker.HelloStatus{}, "why": why.Explanation{}, "log": []why.Observation{}, "doctor": []finding{},
		"accounts": []broker.Account{}, "cookie": []cookie{}, "version": build{}, "done": done{},
		"error": struct {
			Error failure `json:"error"`
		}{},
	}
	all := samples(t)
	require.Len(t, all, len(types))
	for name, v := range types {
		for _, wrong := range describes(name, all[name], reflect.TypeOf(v)) {
			t.Errorf("docs/dsreg.md, json %s", wrong)
		}
	}
}

// describes says where a sample is not of the type.
func describes(path string, sample any, t reflect.Type) (wrong []string) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch sample := sample.(type) {
	case map[string]any:
		if len(sample) == 0 {
			return nil // another sample shows it
		}
		if t.Kind() != reflect.Struct {
			return []string{path + " is an object"}
		}
		have := map[string]bool{}
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			if name == "-" {
				continue
			}
			have[name] = true
			if v, ok := sample[name]; ok {
				wrong = append(wrong, describes(path+"."+name, v, t.Field(i).Type)...)
			} else {
				wrong = append(wrong, fmt.Sprintf("%s lacks the member %q", path, name))
			}
		}
		for name := range sample {
			if !have[name] {
				wrong = append(wrong, fmt.Sprintf("%s has a member %q that is never printed", path, name))
			}
		}
	case []any:
		if t.Kind() != reflect.Slice {
			return []string{path + " is a list"}
		}
		if len(sample) > 0 {
			return describes(path+"[0]", sample[0], t.Elem())
		}
	case string:
		if !isText(t) {
			return []string{path + " is a string"}
		}
		if _, err := time.Parse(time.RFC3339, sample); (t == reflect.TypeFor[time.Time]()) != (err == nil) {
			return []string{path + ": a time and its sample differ"}
		}
	case float64:
		if !slices.Contains([]reflect.Kind{reflect.Int, reflect.Int64, reflect.Float64}, t.Kind()) {
			return []string{path + " is a number"}
		}
	case bool:
		if t.Kind() != reflect.Bool {
			return []string{path + " is a boolean"}
		}
	default:
		return []string{path + " has no sample"}
	}
	return wrong
}

// isText says whether a type is a string in JSON.
func isText(t reflect.Type) bool {
	return t.Kind() == reflect.String || t.Implements(reflect.TypeFor[encoding.TextMarshaler]())
}

// What the commands print is as the samples say.
func TestPrintedJSON(t *testing.T) {
	all := samples(t)
	dir := t.TempDir()
	const pin = "27182845"
	do := func(sample, stdin string, args ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		a := &app{streams: streams{strings.NewReader(stdin), &out, &errs}, getenv: func(string) string { return "" }}
		a.run(t.Context(), append(args, "--json", "--state", dir, "--emulator"))
		text := out.Bytes()
		if sample == "error" {
			require.Empty(t, text)
			text = errs.Bytes()
		}
		var v any
		require.NoErrorf(t, json.Unmarshal(text, &v), "%v: %s%s", args, text, &errs)
		for _, wrong := range fits(sample, v, all[sample]) {
			t.Errorf("dsreg %s: %s", strings.Join(args, " "), wrong)
		}
	}
	const payroll = "api://payroll/.default"
	policies := filepath.Join(t.TempDir(), "policies.json")
	require.NoError(t, os.WriteFile(policies, []byte(emulatedPolicies), 0o600))

	do("error", "", "token", payroll)
	do("join", "", "join", "--software-keys")
	do("error", "", "token", payroll)
	do("why", "", "why", payroll, "--policies", policies, "--resource", payrollID)
	do("token", "", "token", payroll, "--interactive")
	do("done", pin+"\n", "hello", "set", "--pin-stdin")
	do("signin", pin+"\n", "signin", "--pin-stdin")
	do("signin", pin+"\n", "unlock", "--pin-stdin")
	for _, c := range []string{"status", "refresh", "log", "doctor", "accounts", "version"} {
		do(c, "", c)
	}
	do("hello", "", "hello", "status")
	do("why", "", "why", payroll)
	do("cookie", "", "cookie", "https://login.microsoftonline.com/common/oauth2/authorize")
	do("done", "", "leave")
	do("status", "", "status")
}

// fits says where a value differs from its sample.
func fits(path string, v, sample any) (wrong []string) {
	switch v := v.(type) {
	case map[string]any:
		s, ok := sample.(map[string]any)
		if !ok {
			return []string{path + " is an object"}
		}
		for name, inner := range v {
			if want, ok := s[name]; ok {
				wrong = append(wrong, fits(path+"."+name, inner, want)...)
			} else if len(s) > 0 {
				wrong = append(wrong, fmt.Sprintf("%s has a member %q that the documentation lacks", path, name))
			}
		}
	case []any:
		s, ok := sample.([]any)
		if !ok {
			return []string{path + " is a list"}
		}
		for _, inner := range v {
			if len(s) > 0 {
				wrong = append(wrong, fits(path+"[]", inner, s[0])...)
			}
		}
	default:
		if reflect.TypeOf(v) != reflect.TypeOf(sample) {
			return []string{fmt.Sprintf("%s is %T, documented is %T", path, v, sample)}
		}
	}
	return wrong
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
