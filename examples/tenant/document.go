package main

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/prtbroker/prtbroker/internal/camel"
)

// parseConfig reads a YAML document. Its errors begin with the line and column.
func parseConfig(text []byte) (*config, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, fmt.Errorf(" %w", err)
	}
	c := &config{}
	if len(root.Content) == 0 {
		return c, nil
	}
	v, err := valueOf(root.Content[0], reflect.TypeFor[config](), "")
	if err != nil {
		return nil, err
	}
	asJSON, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf(" %w", err)
	}
	if err := json.Unmarshal(asJSON, c); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return nil, fmt.Errorf(" %s is a %s; want %s", wrong.Field, wrong.Value, wrong.Type)
		}
		return nil, fmt.Errorf(" %w", err)
	}
	return c, nil
}

// misplaced is an error about a node; a path such as ".users[].name" names it.
func misplaced(n *yaml.Node, path, problem string) error {
	return fmt.Errorf("%d:%d: %q %s", n.Line, n.Column, strings.TrimPrefix(path, "."), problem)
}

// valueOf returns what a node says as encoding/json reads it into the type, or an error
// with the place of the first key or value that does not fit.
func valueOf(n *yaml.Node, t reflect.Type, path string) (any, error) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Tag == "!!null" {
		return nil, nil
	}
	switch {
	case t == reflect.TypeFor[json.RawMessage](), t.Kind() == reflect.Interface:
		var v any
		if err := n.Decode(&v); err != nil {
			return nil, misplaced(n, path, err.Error())
		}
		return v, nil
	case t == reflect.TypeFor[time.Duration]():
		d, err := time.ParseDuration(n.Value)
		if err != nil || n.Kind != yaml.ScalarNode {
			return nil, misplaced(n, path, "must be a duration, such as 90s or 4h")
		}
		return int64(d), nil
	case t == reflect.TypeFor[[]byte](), t.Kind() == reflect.String, reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		if n.Kind != yaml.ScalarNode {
			return nil, misplaced(n, path, "must be a string")
		}
		return n.Value, nil // a password of digits needs no quotes
	case t.Kind() == reflect.Slice:
		return listOf(n, t, path)
	case t.Kind() == reflect.Map, t.Kind() == reflect.Struct:
		return mappingOf(n, t, path)
	}
	v := reflect.New(t)
	if err := n.Decode(v.Interface()); err != nil {
		return nil, misplaced(n, path, "must be "+map[bool]string{true: "true or false", false: "a whole number"}[t.Kind() == reflect.Bool])
	}
	return v.Elem().Interface(), nil
}

func listOf(n *yaml.Node, t reflect.Type, path string) (any, error) {
	if n.Kind != yaml.SequenceNode {
		return nil, misplaced(n, path, "must be a list")
	}
	list := []any{}
	for _, item := range n.Content {
		v, err := valueOf(item, t.Elem(), path+"[]")
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

func mappingOf(n *yaml.Node, t reflect.Type, path string) (any, error) {
	if n.Kind != yaml.MappingNode {
		return nil, misplaced(n, path, "must be a mapping")
	}
	out, seen := map[string]any{}, map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		below, of := path+"."+key.Value, t
		name := key.Value
		if t.Kind() == reflect.Struct { // in any case
			name = strings.ToLower(name)
		}
		if line := seen[name]; line != 0 {
			return nil, misplaced(key, below, fmt.Sprintf("is set twice, first in line %d", line))
		}
		seen[name] = key.Line
		switch {
		case key.Tag == "!!merge": // keys of an anchor
			below = path
		case t.Kind() == reflect.Map:
			of = t.Elem()
		default:
			f, ok := fieldOf(t, key.Value)
			if !ok {
				return nil, misplaced(key, below, "is not a key here; known are "+strings.Join(keysOf(t), ", "))
			}
			of = f.Type
		}
		v, err := valueOf(value, of, below)
		if err != nil {
			return nil, err
		}
		if key.Tag != "!!merge" {
			out[key.Value] = v
			continue
		}
		merged, _ := v.(map[string]any)
		for k, v := range merged {
			if _, ok := out[k]; !ok {
				out[k] = v
			}
		}
	}
	return out, nil
}

// keysOf returns the keys that stand for the fields of a struct.
func keysOf(t reflect.Type) []string {
	return slices.DeleteFunc(camel.Names(t), func(name string) bool {
		return t == reflect.TypeFor[config]() && slices.ContainsFunc(unconfigured, func(f string) bool { return camel.Name(f) == name })
	})
}

func fieldOf(t reflect.Type, key string) (reflect.StructField, bool) {
	if !slices.ContainsFunc(keysOf(t), func(name string) bool { return strings.EqualFold(name, key) }) {
		return reflect.StructField{}, false
	}
	return t.FieldByNameFunc(func(name string) bool { return strings.EqualFold(name, key) })
}
