// Package camel writes Go structs as JSON with names in camel case, and describes
// them as JSON Schema, for files and interfaces that people of other languages use.
// Reading needs no package: encoding/json ignores the case of names.
package camel

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"time"
)

// Name is a Go name in camel case: URIs is uris, TOTPSecret is totpSecret.
func Name(name string) string {
	upper := 0
	for upper < len(name) && name[upper] >= 'A' && name[upper] <= 'Z' {
		upper++
	}
	switch {
	case upper == len(name), upper == len(name)-1 && name[upper] == 's':
		return strings.ToLower(name)
	case upper > 1:
		upper--
	}
	return strings.ToLower(name[:upper]) + name[upper:]
}

// Names are the names that stand for the fields of a struct.
func Names(t reflect.Type) (names []string) {
	for _, f := range reflect.VisibleFields(t) {
		if written(f) {
			names = append(names, Name(f.Name))
		}
	}
	return names
}

// written reports whether JSON can hold a field.
func written(f reflect.StructField) bool {
	switch f.Type.Kind() {
	case reflect.Func, reflect.Pointer, reflect.Interface:
		return false
	}
	return f.IsExported() && !f.Anonymous
}

var (
	timeType = reflect.TypeFor[time.Time]()
	rawType  = reflect.TypeFor[json.RawMessage]()
	byteType = reflect.TypeFor[[]byte]()
	spanType = reflect.TypeFor[time.Duration]()
	textType = reflect.TypeFor[encoding.TextUnmarshaler]()
	wordType = reflect.TypeFor[encoding.TextMarshaler]()
)

// Schema describes a type as JSON Schema (draft 2020-12).
func Schema(t reflect.Type) map[string]any {
	switch t {
	case rawType:
		return map[string]any{}
	case byteType:
		return map[string]any{"type": "string", "contentEncoding": "base64"}
	case timeType:
		return map[string]any{"type": "string", "format": "date-time"}
	case spanType:
		return map[string]any{"type": "string", "pattern": `^-?([0-9.]+(ns|us|µs|ms|s|m|h))+$|^0$`}
	}
	if reflect.PointerTo(t).Implements(textType) {
		return map[string]any{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64, reflect.Uint32, reflect.Uint64:
		return map[string]any{"type": "integer"}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": Schema(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": Schema(t.Elem())}
	case reflect.Interface:
		return map[string]any{}
	case reflect.Struct:
		members := map[string]any{}
		for _, f := range reflect.VisibleFields(t) {
			if written(f) {
				members[Name(f.Name)] = Schema(f.Type)
			}
		}
		return map[string]any{"type": "object", "properties": members, "additionalProperties": false}
	}
	return map[string]any{"type": "string"}
}

// Marshal writes a value as [Schema] describes its type. A zero time is left out, and
// an empty list is a list.
func Marshal(v any) ([]byte, error) { return json.Marshal(plain(reflect.ValueOf(v), false)) }

// MarshalSet is like [Marshal] but leaves out every field with its zero value, for a
// reader to whom nil means another thing than an empty list.
func MarshalSet(v any) ([]byte, error) { return json.Marshal(plain(reflect.ValueOf(v), true)) }

func plain(v reflect.Value, onlySet bool) any {
	if !v.IsValid() {
		return nil
	}
	switch v.Type() {
	case rawType, byteType, timeType:
		return v.Interface()
	case spanType:
		return time.Duration(v.Int()).String()
	}
	if v.Type().Implements(wordType) {
		return v.Interface()
	}
	switch v.Kind() {
	case reflect.Struct:
		out := map[string]any{}
		for _, f := range reflect.VisibleFields(v.Type()) {
			if !written(f) {
				continue
			}
			field := v.FieldByIndex(f.Index)
			if at, ok := field.Interface().(time.Time); ok && at.IsZero() || onlySet && field.IsZero() {
				continue
			}
			out[Name(f.Name)] = plain(field, onlySet)
		}
		return out
	case reflect.Slice:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = plain(v.Index(i), onlySet)
		}
		return out
	}
	return v.Interface()
}
