package policy_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/policy"
	"github.com/prtbroker/prtbroker/policy/policytest"
)

// FuzzLoad loads anything. What loads also compiles, can be evaluated and
// explained, and comes back from its own JSON as it was.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(exported))
	f.Add([]byte("\xff\xfe{\x00}\x00"))
	f.Add([]byte(`{"value":[{"@odata.type":"#microsoft.graph.countryNamedLocation","id":"x","countriesAndRegions":["DE"]}]}`))
	f.Add([]byte(`{"conditions":{"platforms":[],"times":{"a":1},"devices":{"deviceFilter":{"mode":"include","rule":"device.model -eq \"x\""}}},"grantControls":{"operator":"AND","authenticationStrength":{"id":"k","allowedCombinations":["fido2"]}}}`))
	g := policytest.NewGenerator(2)
	for range 20 {
		js, err := json.Marshal(g.Bundle(2).Policies)
		require.NoError(f, err)
		f.Add(js)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, _, err := policy.Load(bytes.NewReader(data))
		if err != nil {
			require.Nil(t, b)
			return
		}
		s, err := policy.Compile(b, policy.FailClosed())
		require.NoError(t, err)
		in := ask()
		d := s.Evaluate(in)
		require.NotEqual(t, policy.OutcomeInvalid, d.Outcome)
		e := s.Explain(in)
		require.Equal(t, d, e.Decision)
		require.Len(t, e.Policies, len(b.Policies))
		_, err = json.Marshal(e)
		require.NoError(t, err)

		first, err := json.Marshal(b.Policies)
		require.NoError(t, err)
		again, _, err := policy.Load(bytes.NewReader(first))
		require.NoError(t, err)
		if len(again.Policies) != len(b.Policies) {
			return // a policy that says nothing at all is not known for one
		}
		second, err := json.Marshal(again.Policies)
		require.NoError(t, err)
		var x, y any
		require.NoError(t, json.Unmarshal(first, &x))
		require.NoError(t, json.Unmarshal(second, &y))
		require.Equal(t, pruned(x), pruned(y))
	})
}
