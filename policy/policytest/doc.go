// Package policytest tests code that evaluates Conditional Access.
//
//	in := &policy.SignIn{User: &policy.User{ID: "alice"}, AppID: "app", ClientApp: policy.ClientBrowser, Methods: claims.Password}
//	v := policytest.Naive(b, policytest.Options{}, in)
//	fmt.Println(v.Outcome, v.Controls)
//
// [Naive] is an
// evaluator that reads every policy anew and is written to be obviously right,
// however slow; it shares nothing with package policy but the types. [Generator]
// makes random policies and sign-ins that often match each other. [Check]
// compares the two evaluators.
package policytest
