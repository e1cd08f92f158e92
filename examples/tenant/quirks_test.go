package main

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/entratest/admin"
	"github.com/prtbroker/prtbroker/internal/camel"
)

var (
	section = regexp.MustCompile(`(?m)^## (.+)$`)
	line    = regexp.MustCompile(`(?m)^- (Microsoft|Go|API|File|Tests): (.+)$`)
	code    = regexp.MustCompile("`([^`]+)`")
	heading = regexp.MustCompile(`\]\(#([a-z0-9_-]+)\)`)
)

// Every section of docs/quirks.md says where the behaviour is documented and names
// switches that exist: in Go, in the administrator's API, in a configuration file. That
// its tests exist, house.TestDocumentsNameTests checks.
func TestQuirksPage(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "quirks.md"))
	require.NoError(t, err)
	operations := apiOperations(t)
	at := section.FindAllStringSubmatchIndex(string(text), -1)
	require.GreaterOrEqual(t, len(at), 20)
	contents := string(text[:at[0][0]])
	require.Len(t, heading.FindAllString(contents, -1), len(at), "the table of contents lists every section")
	for i, m := range at {
		end := len(text)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		title, body := string(text[m[2]:m[3]]), string(text[m[1]:end])
		t.Run(title, func(t *testing.T) {
			found := map[string]string{}
			for _, l := range line.FindAllStringSubmatch(body, -1) {
				found[l[1]] = l[2]
			}
			for _, name := range []string{"Microsoft", "Go", "Tests"} {
				require.NotEmpty(t, found[name], name)
			}
			require.Contains(t, found["Microsoft"], "https://")
			for _, c := range code.FindAllStringSubmatch(found["Go"], -1) {
				require.Truef(t, inGo(c[1]), "%s is not in package entratest", c[1])
			}
			for _, c := range code.FindAllStringSubmatch(found["API"], -1) {
				require.Contains(t, operations, c[1])
			}
			for _, c := range code.FindAllStringSubmatch(found["File"], -1) {
				key, _, _ := strings.Cut(c[1], ":")
				require.Truef(t, inFile(key), "%s is not a key of a configuration file", key)
				for _, q := range regexp.MustCompile(`[a-z0-9]+(-[a-z0-9]+)+`).FindAllString(strings.TrimPrefix(c[1], key), -1) {
					require.True(t, key != "withoutQuirks" || isQuirk(q), q)
				}
			}
		})
	}
}

func apiOperations(t *testing.T) (list []string) {
	t.Helper()
	srv := entratest.NewTB(t, entratest.Options{})
	r := httptest.NewRequest("GET", "http://localhost/openapi.json", nil)
	r.Header.Set("Authorization", "Bearer x")
	w := httptest.NewRecorder()
	admin.New(srv, admin.Options{Token: "x"}).ServeHTTP(w, r)
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &doc))
	for path, methods := range doc.Paths {
		for method := range methods {
			list = append(list, strings.ToUpper(method)+" "+path)
		}
	}
	return list
}

func inGo(name string) bool {
	of, member, ok := strings.Cut(name, ".")
	if !ok {
		return quirkConstants[name] != ""
	}
	switch of {
	case "Server":
		_, ok = reflect.TypeFor[*entratest.Server]().MethodByName(member)
	case "Options":
		_, ok = reflect.TypeFor[entratest.Options]().FieldByName(member)
	case "App":
		_, ok = reflect.TypeFor[entratest.App]().FieldByName(member)
	case "User":
		_, ok = reflect.TypeFor[entratest.User]().FieldByName(member)
	default:
		ok = false
	}
	return ok
}

// quirkConstants are the constants by their Go names, which reflection does not know.
var quirkConstants = map[string]entratest.Quirk{
	"GraphNonce": entratest.GraphNonce, "GroupOverage": entratest.GroupOverage, "KeysWithoutAlg": entratest.KeysWithoutAlg,
	"OfflineNotEchoed": entratest.OfflineNotEchoed, "PairwiseSubject": entratest.PairwiseSubject, "RefreshTokenReuse": entratest.RefreshTokenReuse,
	"ScopesInAnyCase": entratest.ScopesInAnyCase, "TenantIDInIssuer": entratest.TenantIDInIssuer, "UnsignedV1IDToken": entratest.UnsignedV1IDToken,
	"NumbersAsText": entratest.NumbersAsText,
}

func isQuirk(name string) bool {
	for _, q := range quirkConstants {
		if string(q) == name {
			return true
		}
	}
	return false
}

func inFile(key string) bool {
	for _, t := range []reflect.Type{reflect.TypeFor[config](), reflect.TypeFor[entratest.App](), reflect.TypeFor[entratest.User]()} {
		if slices.Contains(camel.Names(t), key) {
			return true
		}
	}
	return false
}

// Every quirk that the server knows has a section.
func TestQuirksPageIsComplete(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "quirks.md"))
	require.NoError(t, err)
	srv := entratest.NewTB(t, entratest.Options{})
	require.Len(t, srv.Quirks(), len(quirkConstants))
	for name, q := range quirkConstants {
		require.Contains(t, string(text), "`"+name+"`", "%s", q)
	}
}
