package main

import (
	"encoding/json"

	"github.com/prtbroker/prtbroker/policy"
)

// The JSON of whatif diff.
type (
	diffJSON struct {
		Old          string         `json:"old"`
		New          string         `json:"new"`
		Judged       int            `json:"judged"`
		Combinations int            `json:"combinations"`
		Unreadable   []string       `json:"unreadable"`
		Policies     []policyChange `json:"policies"`
		Changes      []changeJSON   `json:"changes"`
	}
	changeJSON struct {
		Kind         string     `json:"kind"` // loosened, changed, tightened
		Who          string     `json:"who"`
		What         string     `json:"what"`
		Combinations int        `json:"combinations"`
		Was          answerJSON `json:"was"`
		Is           answerJSON `json:"is"`
		Lost         []string   `json:"lost"`
		Gained       []string   `json:"gained"`
		By           []string   `json:"by"`
	}
	answerJSON struct {
		Outcome     string   `json:"outcome"` // grant, interrupt, block
		Unguarded   bool     `json:"unguarded"`
		Demands     []string `json:"demands"`
		By          string   `json:"by,omitempty"`
		Session     string   `json:"session,omitempty"`
		Unevaluable int      `json:"unevaluable"`
	}
)

func (d *difference) json() ([]byte, error) {
	out := diffJSON{
		Old: d.Old, New: d.New, Judged: d.Judged, Combinations: d.Total,
		Unreadable: some(d.unreadable()), Policies: some(d.Policies), Changes: []changeJSON{},
	}
	for _, x := range d.Changes {
		out.Changes = append(out.Changes, changeJSON{
			Kind: x.Kind, Who: x.Who, What: x.What, Combinations: x.Combinations,
			Was: x.was.json(), Is: x.is.json(), Lost: some(x.Lost), Gained: some(x.Gained), By: some(x.By),
		})
	}
	b, err := json.MarshalIndent(out, "", "  ")
	return append(b, '\n'), err
}

func (k answerKey) json() answerJSON {
	return answerJSON{
		Outcome: outcomeName(k.outcome), Unguarded: k.gap && k.outcome == policy.OutcomeGrant, Demands: some(k.demanded()),
		By: k.deciding, Session: k.session, Unevaluable: k.open,
	}
}

// some turns a nil list into an empty one, which JSON writes as [] and not as
// null.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
