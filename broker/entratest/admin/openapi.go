package admin

import (
	"reflect"
	"regexp"
	"strings"

	"github.com/prtbroker/prtbroker/internal/camel"
)

var pathParameter = regexp.MustCompile(`\{(\w+)\}`)

// document is the OpenAPI 3.1 description of the routes.
func document() map[string]any {
	paths := map[string]any{}
	for _, r := range routes {
		item, ok := paths[r.path].(map[string]any)
		if !ok {
			item = map[string]any{}
			paths[r.path] = item
		}
		item[strings.ToLower(r.method)] = r.operation()
	}
	refused := map[string]any{"description": "Refused", "content": content(reflect.TypeFor[refusal]())}
	return map[string]any{
		"openapi": "3.1.0",
		"info":    map[string]any{"title": "The tenant's administrator", "version": "1", "description": "What package entratest of prtbroker does to an emulated tenant."},
		"paths":   paths,
		"components": map[string]any{
			"securitySchemes": map[string]any{"token": map[string]any{"type": "http", "scheme": "bearer"}},
			"responses":       map[string]any{"Refused": refused},
		},
		"security": []any{map[string]any{"token": []any{}}},
	}
}

func (r *route) operation() map[string]any {
	op := map[string]any{"operationId": r.id(), "summary": r.summary}
	var parameters []any
	for _, m := range pathParameter.FindAllStringSubmatch(r.path, -1) {
		parameters = append(parameters, map[string]any{"name": m[1], "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
	}
	if parameters != nil {
		op["parameters"] = parameters
	}
	if r.in != nil {
		op["requestBody"] = map[string]any{"required": true, "content": content(r.in)}
	}
	done := map[string]any{"204": map[string]any{"description": "Done"}}
	if r.out != nil {
		done = map[string]any{"200": map[string]any{"description": "Done", "content": content(r.out)}}
	}
	done["default"] = map[string]any{"$ref": "#/components/responses/Refused"}
	op["responses"] = done
	return op
}

// id names an operation: POST /users/{user}/disable is post_users_user_disable.
func (r *route) id() string {
	words := strings.FieldsFunc(r.path, func(c rune) bool { return c == '/' || c == '{' || c == '}' || c == '-' })
	return strings.ToLower(r.method) + "_" + strings.Join(words, "_")
}

func content(t reflect.Type) map[string]any {
	return map[string]any{"application/json": map[string]any{"schema": camel.Schema(t)}}
}
