package main

import (
	"encoding/json"
	"reflect"

	"github.com/prtbroker/prtbroker/internal/camel"
)

// schema returns the JSON Schema of a configuration file, with which editors
// complete and check it: `tenant -schema`.
func schema() ([]byte, error) {
	s := camel.Schema(reflect.TypeFor[config]())
	members, _ := s["properties"].(map[string]any)
	for _, f := range unconfigured {
		delete(members, camel.Name(f))
	}
	members["policies"] = map[string]any{"description": "Conditional Access policies as Microsoft Graph exports them, or the names of files that hold them"}
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "A tenant for examples/tenant of prtbroker"
	return json.MarshalIndent(s, "", "  ")
}
