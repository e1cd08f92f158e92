package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
	"github.com/prtbroker/prtbroker/policy/policytest"
)

func TestFilterRules(t *testing.T) {
	d := &policy.Device{
		ID: "d-1", DisplayName: `Bob's "box"`, Model: "Surface Pro 9", OperatingSystem: "Windows", OperatingSystemVersion: "10.0.22631",
		EnrollmentProfileName: "École Ä", Ownership: "Company", TrustType: policy.TrustHybrid, Compliant: claims.No, Manufacturer: `C:\`, MDMAppID: "0000000a-0000-0000-c000-000000000000",
		ExtensionAttributes: [15]string{0: "SAW", 14: "x"}, SystemLabels: []string{"CloudPC"},
	}
	for _, tt := range []struct {
		rule string
		want bool
	}{
		{`device.model -startsWith "surface"`, true},
		{`device.model startswith "SURFACE"`, true},
		{`device.model –startsWith "Surface"`, true}, // an en dash, as copied from a web page
		{`DEVICE.deviceid -eq "D-1"`, true},
		{`device.model -endsWith "9" -and device.model -notEndsWith "8"`, true},
		{`device.model -in ["Surface Go", "Surface Pro 9"]`, true},
		{`device.model -notIn ["Surface Go", 'Surface Pro 9']`, false},
		{`device.trustType -eq "ServerAD"`, true},
		{`device.trustType -ne "AzureAD"`, true},
		{`device.isCompliant -eq False`, true},
		{`device.isCompliant -ne True`, true},
		{`device.isCompliant -eq "true"`, false},
		{`device.extensionAttribute1 -eq SAW`, true},
		{`device.extensionAttribute15 -eq "X"`, true},
		{`device.extensionAttribute2 -eq null`, true},
		{`device.extensionAttribute2 -eq "null"`, false},
		{`device.systemLabels -contains "CloudPC"`, true},
		{`device.physicalIds -eq null`, true},
		{"device.displayName -eq \"Bob's `\"box`\"\"", true},
		{`device.displayName -eq "Bob's \"box\""`, true},
		{"device.manufacturer -eq \"C:`\\\"", true},
		{`device.model -endsWith "Pro"`, false}, // it is in the middle
		{`device.model -contains "Pixel"`, false},
		{`device.model -startsWith "" -and device.model -endsWith "" -and device.model -contains ""`, true},
		{`device.profileType -eq "" -or device.profileType -contains ""`, false}, // it is null
		{`device.profileType -ne ""`, true},
		{`device.enrollmentProfileName -eq "ÉCOLE ä"`, true},
		{`device.enrollmentProfileName -eq "école ö"`, false},
		{`device.enrollmentProfileName -startsWith "éa"`, false},
		{`device.enrollmentProfileName -contains "cole Ä"`, true},
		{`device.enrollmentProfileName -contains "è"`, false},
		// -and binds tighter than -or, -not tighter than both
		{`device.deviceId -eq "d-1" -or device.deviceId -eq "x" -and device.deviceId -eq "y"`, true},
		{`(device.deviceId -eq "d-1" -or device.deviceId -eq "x") -and device.deviceId -eq "y"`, false},
		{`-not (device.deviceId -eq "x") -and device.deviceId -eq "d-1"`, true},
		{`not device.deviceId -eq "x" and -not (-not (device.deviceId -eq "d-1"))`, true},
		{`-not (device.deviceId -eq "d-1" -and device.model -eq null) -or device.model -eq null`, true},
	} {
		r, err := policy.ParseFilterRule(tt.rule)
		require.NoError(t, err, tt.rule)
		require.Equal(t, tt.want, r.MatchDevice(d), tt.rule)
		again, err := policy.ParseFilterRule(r.String())
		require.NoError(t, err, r.String())
		require.Equal(t, tt.want, again.MatchDevice(d), r.String())
		require.Equal(t, r.String(), again.String())
	}
}

func TestFilterRuleErrors(t *testing.T) {
	for _, tt := range []struct{ rule, want string }{
		{``, "byte 0: expected device.property"},
		{`device.model`, "byte 12: expected an operator"},
		{`device.model -eq`, "byte 16: expected a value"},
		{`device.colour -eq "x"`, "byte 0: devices have no such property"},
		{`device.extensionAttribute16 -eq "x"`, "no such property"},
		{`device.extensionAttribute01 -eq "x"`, "no such property"},
		{`user.department -eq "x"`, "expected device.property"},
		{`device.model -like "x"`, "byte 13: expected an operator"},
		{`device.model -eq "x`, "byte 17: string without an end"},
		{"device.model -eq \"x`", "byte 17: string without an end"},
		{`device.model -eq "x\`, "byte 17: string without an end"},
		{`"device.model" -eq "x"`, "byte 0: expected device.property"},
		{`CustomSecurityAttribute. -eq "x"`, "byte 0: expected device.property or CustomSecurityAttribute.Set_Attribute"},
		{`device.model -and device.model -eq "x"`, "byte 13: expected an operator"},
		{`device.model -eq "x" device.model -eq "y"`, "byte 21: expected -and, -or or the end"},
		{`(device.model -eq "x"`, "expected )"},
		{`device.model -eq ["x"]`, "a list needs -in"},
		{`device.model -in ["x"`, "expected , or ]"},
		{`device.model -in [null]`, "null in a list"},
		{`device.model -contains null`, "null needs -eq or -ne"},
		{`device.isCompliant -contains "True"`, "isCompliant needs -eq or -ne"},
		{`device.isCompliant -eq "yes"`, "isCompliant is True or False"},
		{`device.systemLabels -eq "CloudPC"`, "a collection needs -contains"},
		{strings.Repeat("(", 100) + `device.model -eq "x"`, "nested too deeply"},
		{strings.Repeat("(", 65) + `device.model -eq "x"` + strings.Repeat(")", 65), "nested too deeply"},
		{strings.Repeat("-not ", 100) + `device.model -eq "x"`, "nested too deeply"},
		{strings.Repeat(" ", 3073), "longer than 3072"},
	} {
		_, err := policy.ParseFilterRule(tt.rule)
		require.ErrorContains(t, err, tt.want, tt.rule)
		require.True(t, strings.HasPrefix(err.Error(), "policy: "))
	}
}

// A device that never reported is neither compliant nor not: to rules it is null.
func TestFilterRulesOnCompliance(t *testing.T) {
	for rule, want := range map[string][3]bool{ // unknown, no, yes
		`device.isCompliant -eq True`:  {false, false, true},
		`device.isCompliant -eq False`: {false, true, false},
		`device.isCompliant -ne True`:  {true, true, false},
		`device.isCompliant -ne False`: {true, false, true},
		`device.isCompliant -eq null`:  {true, false, false},
		`device.isCompliant -ne null`:  {false, true, true},
	} {
		r, err := policy.ParseFilterRule(rule)
		require.NoError(t, err)
		for i, c := range []claims.Answer{claims.Unknown, claims.No, claims.Yes} {
			require.Equal(t, want[i], r.MatchDevice(&policy.Device{Compliant: c}), "%s: %v", rule, c)
		}
	}
}

// An attribute that is not assigned is null, and so is one without values.
func TestFilterRulesOnAttributes(t *testing.T) {
	one := policy.Attribute{Name: "Set_Level", Values: []string{"high", "low"}}
	list := one
	list.Multiple = true
	for _, tt := range []struct {
		rule                    string
		absent, empty, one, all bool
	}{
		{`CustomSecurityAttribute.Set_Level -eq null`, true, true, false, false},
		{`CustomSecurityAttribute.Set_Level -ne null`, false, false, true, true},
		{`customsecurityattribute.SET_level -eq "LOW"`, false, false, true, true},
		{`CustomSecurityAttribute.Set_Level -ne "low"`, true, true, false, false},
		{`CustomSecurityAttribute.Set_Level -contains "hig"`, false, false, true, false},
		{`CustomSecurityAttribute.Set_Level -contains "high"`, false, false, true, true},
		{`CustomSecurityAttribute.Set_Level -in ["none", "low"]`, false, false, true, true},
		{`CustomSecurityAttribute.Set_Lev -eq "low"`, false, false, false, false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			r, err := policy.ParseFilterRule(tt.rule)
			require.NoError(t, err)
			other := policy.Attribute{Name: "Other", Values: []string{"high"}}
			require.Equal(t, tt.absent, r.MatchAttributes([]policy.Attribute{other}))
			require.Equal(t, tt.empty, r.MatchAttributes([]policy.Attribute{{Name: "Set_Level"}}))
			require.Equal(t, tt.one, r.MatchAttributes([]policy.Attribute{other, one}))
			require.Equal(t, tt.all, r.MatchAttributes([]policy.Attribute{other, list}))
		})
	}
	r, err := policy.ParseFilterRule(`CustomSecurityAttribute.Set_Level -eq null`)
	require.NoError(t, err)
	require.False(t, r.MatchAttributes([]policy.Attribute{{Name: "Set_Level", Values: []string{"null"}}}), "the word is a value")
}

// Case is folded letter by letter, also where a letter outside of ASCII folds to one
// inside.
func TestFilterRulesFoldCase(t *testing.T) {
	for _, same := range []string{"Kelvin", "\u212aelvin", "KELV\u0130N"} { // the sign of Kelvin, an I with its dot
		for _, rule := range []string{`device.model -eq "%s"`, `device.model -startsWith "%s"`, `device.model -endsWith "%s"`, `device.model -contains "%s"`} {
			r, err := policy.ParseFilterRule(fmt.Sprintf(rule, same))
			require.NoError(t, err)
			for _, model := range []string{"kelvin", "\u212aelvin", "kelv\u0130n"} {
				require.True(t, r.MatchDevice(&policy.Device{Model: model}), "%s: %s", r, model)
			}
			require.False(t, r.MatchDevice(&policy.Device{Model: "k\u00e9lvin"}), "%s", r)
		}
	}
}

// The longest rule Entra stores still compiles and runs.
func TestLongRule(t *testing.T) {
	term := `device.model -eq "a"`
	rule := strings.Repeat(term+" -or ", (3072-len(term))/(len(term)+5)) + `device.model -eq "b"`
	r, err := policy.ParseFilterRule(rule)
	require.NoError(t, err)
	require.True(t, r.MatchDevice(&policy.Device{Model: "B"}))
	require.False(t, r.MatchDevice(nil))

	_, err = policy.ParseFilterRule(term + strings.Repeat(" ", 3072-len(term)))
	require.NoError(t, err, "3,072 characters are allowed")
	_, err = policy.ParseFilterRule(strings.Repeat("(", 64) + term + strings.Repeat(")", 64))
	require.NoError(t, err, "so are 64 levels")
}

func FuzzFilterRule(f *testing.F) {
	g := policytest.NewGenerator(1)
	for range 50 {
		f.Add(g.DeviceRule(3))
	}
	f.Add("CustomSecurityAttribute.Set_Attr -notContains \"a`\"b\"")
	f.Add(`device.displayName -eq 'it"s' -or -not (device.isCompliant ne null)`)
	d := &policy.Device{DisplayName: "a", Model: "Surface", SystemLabels: []string{"CloudPC"}, TrustType: policy.TrustJoined, Compliant: claims.Yes}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := policy.ParseFilterRule(text)
		if err != nil {
			return
		}
		printed := r.String()
		again, err := policy.ParseFilterRule(printed)
		if err != nil && len(printed) > 3000 {
			return // quoting made it longer than a rule may be
		}
		require.NoError(t, err, printed)
		require.Equal(t, printed, again.String(), "parse, print, parse is the identity")
		require.Equal(t, r.MatchDevice(d), again.MatchDevice(d))
		require.Equal(t, r.MatchDevice(nil), again.MatchDevice(nil))
	})
}
