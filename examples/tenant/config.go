package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/internal/camel"
)

// config is the file of -config. Its keys are the names of entratest.Options and of
// what those hold, written in camel case.
type config struct {
	Domain      string
	TenantID    string
	DisplayName string

	Users  []entratest.User
	Groups []entratest.Group
	Apps   []entratest.App
	// Policies are Conditional Access policies as Microsoft Graph exports them, or the
	// names of files with them, in the same directory.
	Policies     json.RawMessage
	Federated    []string
	FederatedMFA string
	OtherTenants []entratest.Tenant

	Seed              uint64
	Clock             string // RFC 3339
	ReplicationLag    string // such as 30s; "0": none
	RequireMFAToJoin  bool
	AskToStaySignedIn bool
	DeviceQuota       int
}

// readConfig reads a YAML file, or a JSON file, which is YAML too. An unknown key is
// an error with its line and column.
func readConfig(path string) (*config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c, err := parseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("%s:%w", path, err)
	}
	if c.Policies, err = policiesOf(c.Policies, filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("%s: policies: %w", path, err)
	}
	return c, nil
}

func parseConfig(text []byte) (*config, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, fmt.Errorf(" %w", err)
	}
	c := &config{}
	if len(root.Content) == 0 {
		return c, nil
	}
	if err := checkKeys(root.Content[0], reflect.TypeFor[config](), ""); err != nil {
		return nil, err
	}
	var v any
	if err := root.Content[0].Decode(&v); err != nil {
		return nil, fmt.Errorf(" %w", err)
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

// checkKeys checks the keys of a mapping against the fields of a struct.
func checkKeys(n *yaml.Node, t reflect.Type, path string) error {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case t == reflect.TypeFor[json.RawMessage](), t.Kind() == reflect.Interface:
		return nil
	case t.Kind() == reflect.Slice && n.Kind == yaml.SequenceNode:
		for _, item := range n.Content {
			if err := checkKeys(item, t.Elem(), path+"[]"); err != nil {
				return err
			}
		}
	case t.Kind() == reflect.Struct && n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			f, ok := t.FieldByNameFunc(func(name string) bool { return strings.EqualFold(name, key.Value) })
			if !ok {
				return fmt.Errorf("%d:%d: %q is not a key here; known are %s", key.Line, key.Column, strings.TrimPrefix(path+"."+key.Value, "."), strings.Join(camel.Names(t), ", "))
			}
			if err := checkKeys(n.Content[i+1], f.Type, path+"."+key.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

// policiesOf reads the files that are named in place of policies.
func policiesOf(raw json.RawMessage, dir string) (json.RawMessage, error) {
	var one string
	var files []string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return nil, nil
	case json.Unmarshal(raw, &one) == nil:
		files = []string{one}
	case json.Unmarshal(raw, &files) != nil:
		return raw, nil
	}
	if len(files) == 0 {
		return raw, nil
	}
	all := []json.RawMessage{}
	for _, name := range files {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return json.Marshal(all)
}

// apply fills in the options of a new tenant. The command line takes precedence.
func (c *config) apply(o *entratest.Options) error {
	if c.Domain != "" {
		o.Domain = c.Domain
	}
	if c.Seed != 0 && o.Seed == 0 {
		o.Seed = c.Seed
	}
	if c.ReplicationLag != "" {
		lag, err := time.ParseDuration(c.ReplicationLag)
		if err != nil {
			return fmt.Errorf("replicationLag: %w", err)
		}
		if o.ReplicationLag = lag; lag == 0 {
			o.ReplicationLag = -1
		}
	}
	o.TenantID, o.DisplayName, o.Users, o.Groups, o.Apps = c.TenantID, c.DisplayName, c.Users, c.Groups, c.Apps
	o.Policies, o.Federated, o.FederatedMFA, o.OtherTenants = c.Policies, c.Federated, c.FederatedMFA, c.OtherTenants
	o.RequireMFAToJoin, o.AskToStaySignedIn, o.DeviceQuota = c.RequireMFAToJoin, c.AskToStaySignedIn, c.DeviceQuota
	return nil
}
