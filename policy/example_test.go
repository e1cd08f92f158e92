package policy_test

import (
	"fmt"
	"log"
	"strings"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

const export = `{"value": [
	{"id": "1", "displayName": "MFA for everybody", "state": "enabled",
	 "conditions": {"users": {"includeUsers": ["All"], "excludeGroups": ["break-glass"]}, "applications": {"includeApplications": ["All"]}},
	 "grantControls": {"operator": "OR", "builtInControls": ["mfa"]}},
	{"id": "2", "displayName": "No device code", "state": "enabled",
	 "conditions": {"users": {"includeUsers": ["All"]}, "applications": {"includeApplications": ["All"]},
	                "authenticationFlows": {"transferMethods": "deviceCodeFlow"}},
	 "grantControls": {"operator": "OR", "builtInControls": ["block"]}}
]}`

func Example() {
	bundle, diagnostics, err := policy.Load(strings.NewReader(export))
	if err != nil {
		log.Fatal(err)
	}
	set, err := policy.Compile(bundle, policy.FailClosed())
	if err != nil {
		log.Fatal(err)
	}
	in := &policy.SignIn{
		User:      &policy.User{ID: "alice"},
		AppID:     "00000003-0000-0000-c000-000000000000", // Microsoft Graph
		ClientApp: policy.ClientMobileOrDesktop,
		Platform:  policy.PlatformLinux,
		Methods:   claims.Password,
	}
	d := set.Evaluate(in)
	fmt.Println(len(diagnostics), d.Outcome)
	for c := range d.Prompt() {
		fmt.Println("asks for", c)
	}
	for p := range d.Policies() {
		fmt.Println("because of", p.DisplayName)
	}
	// Output:
	// 0 interrupt
	// asks for mfa
	// because of MFA for everybody
}

func ExampleSet_Explain() {
	bundle, _, _ := policy.Load(strings.NewReader(export))
	set, _ := policy.Compile(bundle)
	in := &policy.SignIn{
		User:      &policy.User{ID: "alice", Groups: []string{"break-glass"}},
		AppID:     "00000003-0000-0000-c000-000000000000",
		ClientApp: policy.ClientMobileOrDesktop,
	}
	for _, x := range set.Explain(in).Policies {
		fmt.Println(x)
		for _, m := range x.Exclude {
			fmt.Println("  excluded by", m.Satisfied, m.Value)
		}
	}
	// Output:
	// MFA for everybody: notApplied (users)
	//   excluded by groupId break-glass
	// No device code: notApplied (authenticationFlow)
}

// A principal and a device are looked up once and kept; a call then costs tens
// of nanoseconds.
func ExampleSet_Subject() {
	bundle, _, _ := policy.Load(strings.NewReader(export))
	set, _ := policy.Compile(bundle)
	alice := set.Subject(&policy.User{ID: "alice", Groups: []string{"staff"}})
	laptop := set.Endpoint(&policy.Device{ID: "d1", TrustType: policy.TrustJoined, Compliant: claims.Yes})
	for _, flow := range []policy.TransferFlow{policy.TransferNone, policy.TransferDeviceCode} {
		d := set.Evaluate(&policy.SignIn{
			Subject: alice, Endpoint: laptop, AppID: "app", ClientApp: policy.ClientMobileOrDesktop,
			Flow: flow, Methods: claims.WindowsHello,
		})
		fmt.Println(flow, d.Outcome, d.Reason)
	}
	// Output:
	// none grant none
	// deviceCodeFlow block block control
}

func ExampleSet_EvaluateInto() {
	bundle, _, _ := policy.Load(strings.NewReader(strings.Replace(export, `"enabled"`, `"enabledForReportingButNotEnforced"`, 1)))
	set, _ := policy.Compile(bundle)
	var results policy.Results // used again from call to call
	in := &policy.SignIn{User: &policy.User{ID: "alice"}, AppID: "app", ClientApp: policy.ClientBrowser}
	d := set.EvaluateInto(in, &results)
	fmt.Println(d.Outcome)
	for i, r := range results.Policies {
		fmt.Println(set.Policy(i).DisplayName, r)
	}
	// Output:
	// grant
	// MFA for everybody reportOnlyInterrupted
	// No device code notApplied
}

func ExampleParseFilterRule() {
	r, err := policy.ParseFilterRule(`device.isCompliant ne True and not (device.model startsWith "Surface")`)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r)
	fmt.Println(r.MatchDevice(nil)) // an unregistered device: every property is null
	fmt.Println(r.MatchDevice(&policy.Device{Model: "surface pro"}))
	// Output:
	// device.isCompliant -ne True -and -not (device.model -startsWith "Surface")
	// true
	// false
}
