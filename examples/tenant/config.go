package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// config is the file of -config. Its keys are the names of entratest.Options and of
// what those hold, written in camel case; [unconfigured] lists the exceptions.
type config struct {
	entratest.Options

	Clock          string // RFC 3339
	ReplicationLag string // such as 30s; "0": none
}

// unconfigured are the fields of entratest.Options that a file cannot set.
var unconfigured = []string{"State"}

// readConfig reads a YAML file, or a JSON file, which is YAML too. An unknown key is
// an error with its line and column.
func readConfig(path string) (*config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return configOf(text, path, filepath.Dir(path))
}

// configOf reads the text of a file; name is for errors, dir that of the files that
// it names.
func configOf(text []byte, name, dir string) (*config, error) {
	c, err := parseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("%s:%w", name, err)
	}
	if c.Policies, err = policiesOf(c.Policies, dir); err != nil {
		return nil, fmt.Errorf("%s: policies: %w", name, err)
	}
	return c, nil
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
	from := c.Options
	from.Clock, from.Logf = o.Clock, o.Logf
	from.Domain = cmp.Or(from.Domain, o.Domain)
	from.Seed = cmp.Or(o.Seed, from.Seed)
	if c.ReplicationLag != "" {
		lag, err := time.ParseDuration(c.ReplicationLag)
		if err != nil {
			return fmt.Errorf("replicationLag: %w", err)
		}
		if from.ReplicationLag = lag; lag == 0 {
			from.ReplicationLag = -1
		}
	}
	*o = from
	return nil
}
