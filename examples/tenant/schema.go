package main

import (
	"encoding/json"
	"reflect"
)

// schema is the JSON Schema of a configuration file, by which editors complete and
// check it: `tenant -schema`.
func schema() ([]byte, error) {
	s := schemaOf(reflect.TypeFor[config]())
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "A tenant for examples/tenant of prtbroker"
	return json.MarshalIndent(s, "", "  ")
}

func schemaOf(t reflect.Type) map[string]any {
	switch {
	case t == reflect.TypeFor[json.RawMessage]():
		return map[string]any{}
	case t == reflect.TypeFor[[]byte]():
		return map[string]any{"type": "string", "contentEncoding": "base64"}
	}
	switch t.Kind() {
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64, reflect.Uint32, reflect.Uint64:
		return map[string]any{"type": "integer"}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem())}
	case reflect.Struct:
		members := map[string]any{}
		for _, f := range reflect.VisibleFields(t) {
			if f.IsExported() && f.Type.Kind() != reflect.Func && f.Type.Kind() != reflect.Pointer && f.Type.Kind() != reflect.Interface {
				members[camel(f.Name)] = schemaOf(f.Type)
			}
		}
		return map[string]any{"type": "object", "properties": members, "additionalProperties": false}
	}
	return map[string]any{"type": "string"}
}
