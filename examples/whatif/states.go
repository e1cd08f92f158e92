package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/prtbroker/prtbroker/policy"
)

// states holds the policy states from the command line, which override those
// of the export: baselines are published disabled or report-only, and would
// show nothing but gaps.
type states struct {
	asEnabled []policy.State // policies in these states are judged as enabled
	file      string         // of -state-of; "": none
}

// stateFlag is -as-enabled: without a value it means both states, and a value names
// one.
type stateFlag struct{ to *[]policy.State }

func (f stateFlag) IsBoolFlag() bool { return true }

func (f stateFlag) String() string { return "" }

func (f stateFlag) Set(s string) error {
	switch strings.ToLower(s) {
	case "true":
		*f.to = append(*f.to, policy.StateDisabled, policy.StateReportOnly)
	case "false":
		*f.to = nil
	case "disabled", "off":
		*f.to = append(*f.to, policy.StateDisabled)
	case "report-only", "reportonly", strings.ToLower(string(policy.StateReportOnly)):
		*f.to = append(*f.to, policy.StateReportOnly)
	default:
		return fmt.Errorf("%q is not a state: it is disabled or report-only, or nothing for both", s)
	}
	return nil
}

// apply sets the states and says in a sentence what it did, or "" if nothing.
func (s *states) apply(b *policy.Bundle) (string, error) {
	var did []string
	if s.file != "" {
		n, err := s.applyFile(b)
		if err != nil {
			return "", fmt.Errorf("%s: %w", s.file, err)
		}
		did = append(did, fmt.Sprintf("the %s as %s says", count(n, "state is", "states are"), s.file))
	}
	changed := map[policy.State]int{}
	for i := range b.Policies {
		if p := &b.Policies[i]; slices.Contains(s.asEnabled, p.State) {
			changed[p.State]++
			p.State = policy.StateEnabled
		}
	}
	if n := changed[policy.StateDisabled]; n > 0 {
		did = append(did, count(n, "disabled policy is", "disabled policies are")+" judged as enabled")
	}
	if n := changed[policy.StateReportOnly]; n > 0 {
		did = append(did, count(n, "report-only policy is", "report-only policies are")+" judged as enabled")
	}
	return enumerate(did), nil
}

// applyFile takes the states of a file: an object of names or ids and states,
// or another export, whose policies are found by id or else by name.
func (s *states) applyFile(b *policy.Bundle) (n int, err error) {
	said, err := readStates(s.file)
	if err != nil {
		return 0, err
	}
	used := map[string]bool{}
	for i := range b.Policies {
		p := &b.Policies[i]
		for _, key := range []string{strings.ToLower(p.ID), strings.ToLower(p.DisplayName)} {
			if state, ok := said.states[key]; ok && key != "" {
				p.State = state
				used[key] = true
				n++
				break
			}
		}
	}
	for key := range said.states {
		if said.complete && !used[key] {
			return 0, fmt.Errorf("no policy of the export has the id or name %q", key)
		}
	}
	return n, nil
}

// statements are states by lower-case id and name.
type statements struct {
	states   map[string]policy.State
	complete bool // each is meant for a policy of the export
}

func readStates(file string) (statements, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return statements{}, plain(err)
	}
	said := statements{states: map[string]policy.State{}}
	var object map[string]string
	if json.Unmarshal(bytes.TrimPrefix(data, []byte("\ufeff")), &object) == nil {
		said.complete = true
		for name, word := range object {
			state, err := choose("state", word, policyStates)
			if err != nil {
				return said, fmt.Errorf("%q: %w", name, err)
			}
			said.states[strings.ToLower(name)] = state
		}
		return said, nil
	}
	b, _, err := policy.Load(bytes.NewReader(data))
	if err != nil {
		return said, fmt.Errorf("neither an object of names and states nor an export: %s", trimPackage(err))
	}
	if len(b.Policies) == 0 {
		return said, fmt.Errorf("neither an object of names and states nor an export with policies")
	}
	for i := range b.Policies {
		p := &b.Policies[i]
		said.states[strings.ToLower(p.DisplayName)] = p.State
		said.states[strings.ToLower(p.ID)] = p.State
	}
	return said, nil
}
