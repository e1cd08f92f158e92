package main

import (
	"fmt"
	"strings"

	"github.com/prtbroker/prtbroker/policy"
)

// earlyBound are the services that an application signs in to while its user
// signs in, so that their policies are enforced there and then (Microsoft Entra
// documentation, "What are service dependencies in Conditional Access").
var earlyBound = map[string][]string{
	"cc15fd57-2c6c-4117-a88c-83b1d56b4bbe": { // Microsoft Teams
		"00000002-0000-0ff1-ce00-000000000000", "00000003-0000-0ff1-ce00-000000000000", "00000004-0000-0ff1-ce00-000000000000",
	},
	"c9a559d2-7aab-4f13-a6ed-e7e9c52aec87": { // Microsoft Forms
		"00000002-0000-0ff1-ce00-000000000000", "00000003-0000-0ff1-ce00-000000000000",
	},
	"22098786-6e16-43cc-a27d-191a01a1e3b5": {"00000002-0000-0ff1-ce00-000000000000"}, // To Do
	"00000004-0000-0ff1-ce00-000000000000": {"00000002-0000-0ff1-ce00-000000000000"}, // Skype for Business
	"475226c6-020e-4fb2-8a90-7a972cbfc1d4": { // Power Apps
		"797f4846-ba00-4fd7-ba43-dac1f8f63013", "00000002-0000-0000-c000-000000000000", "00000003-0000-0ff1-ce00-000000000000", "00000002-0000-0ff1-ce00-000000000000",
	},
	"7df0a125-d3be-4c96-aa54-591f83ff541c": {"475226c6-020e-4fb2-8a90-7a972cbfc1d4"}, // Power Automate
}

// dependencies says which services behind the application decide otherwise.
func (t *tenant) dependencies(in *policy.SignIn) (out []string) {
	own := t.set.Evaluate(in)
	for _, id := range earlyBound[strings.ToLower(in.AppID)] {
		behind := *in
		behind.AppID = id
		d := t.set.Evaluate(&behind)
		if d.Outcome == own.Outcome && d.Outcome == policy.OutcomeGrant || sameDemands(&own, &d) {
			continue
		}
		out = append(out, fmt.Sprintf("Service dependency: %s signs in to %s too. %s", t.names.of(in.AppID), t.names.of(id), t.decision(&d)))
	}
	return out
}

// sameDemands says whether two decisions are the same by the same policies.
func sameDemands(a, b *policy.Decision) bool {
	if a.Outcome != b.Outcome || a.Deciding != b.Deciding {
		return false
	}
	var names []*policy.Policy
	for p := range a.Policies() {
		names = append(names, p)
	}
	for p := range b.Policies() {
		if len(names) == 0 || names[0] != p {
			return false
		}
		names = names[1:]
	}
	return true
}
