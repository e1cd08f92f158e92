package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"path"
)

// The SARIF 2.1.0 form (OASIS, 2020-03-27): a result for each change, at the
// file of the policy behind it.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Invocations []sarifInvocation `json:"invocations"`
		Results     []sarifResult     `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID      string       `json:"id"`
		Short   sarifMessage `json:"shortDescription"`
		Full    sarifMessage `json:"fullDescription"`
		Default sarifLevel   `json:"defaultConfiguration"`
	}
	sarifLevel struct {
		Level string `json:"level"`
	}
	sarifMessage struct {
		Text string `json:"text"`
	}
	sarifInvocation struct {
		Successful    bool                `json:"executionSuccessful"`
		Notifications []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotification struct {
		Level   string       `json:"level"`
		Message sarifMessage `json:"message"`
	}
	sarifResult struct {
		RuleID       string            `json:"ruleId"`
		RuleIndex    int               `json:"ruleIndex"`
		Level        string            `json:"level"`
		Message      sarifMessage      `json:"message"`
		Locations    []sarifLocation   `json:"locations"`
		Fingerprints map[string]string `json:"partialFingerprints"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   sarifRegion   `json:"region"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine int `json:"startLine"`
	}
)

var sarifRules = []sarifRule{
	{"sign-in-" + loosened, sarifMessage{"A sign-in gets a token more easily."}, sarifMessage{"The new policies ask less of a sign-in than the old ones did, or no longer block it."}, sarifLevel{"error"}},
	{"sign-in-" + changed, sarifMessage{"A sign-in ends differently."}, sarifMessage{"The new policies ask something else of a sign-in, limit its session in another way, or cannot be evaluated for it."}, sarifLevel{"warning"}},
	{"sign-in-" + tightened, sarifMessage{"A sign-in is asked for more."}, sarifMessage{"The new policies ask more of a sign-in than the old ones did, or block it."}, sarifLevel{"note"}},
}

func (d *difference) sarif() ([]byte, error) {
	run := sarifRun{
		Tool: sarifTool{sarifDriver{
			Name: "whatif", InformationURI: "https://github.com/prtbroker/prtbroker/tree/main/examples/whatif", Rules: sarifRules,
		}},
		Invocations: []sarifInvocation{{Successful: len(d.unreadable()) == 0}},
		Results:     []sarifResult{},
	}
	for _, f := range d.unreadable() {
		n := &run.Invocations[0].Notifications
		*n = append(*n, sarifNotification{"error", sarifMessage{"The file could not be read: " + f}})
	}
	for _, x := range d.Changes {
		rule := rankOfKind(x.Kind)
		run.Results = append(run.Results, sarifResult{
			RuleID: sarifRules[rule].ID, RuleIndex: rule, Level: sarifRules[rule].Default.Level,
			Message:      sarifMessage{x.subject() + ": " + x.text() + "."},
			Locations:    []sarifLocation{{sarifPhysical{sarifArtifact{d.uri(x.file)}, sarifRegion{1}}}},
			Fingerprints: map[string]string{"signIn/v1": fingerprint(x.subject())},
		})
	}
	b, err := json.MarshalIndent(sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}}, "", "  ")
	return append(b, '\n'), err
}

// uri is a file of the new export, relative to where the program runs.
func (d *difference) uri(file string) string {
	u := url.URL{Path: path.Join(d.New, file)}
	return u.EscapedPath()
}

func fingerprint(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}
