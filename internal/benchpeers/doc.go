// Package benchpeers compares prtbroker with what its users would use
// otherwise: general policy engines (cedar-go, OPA) that decide the same
// Conditional Access questions as package policy, and MSAL Go, which serves the
// same cached tokens as package broker. It is a module of its own so that none
// of them reaches an importer's module graph.
//
// The engines get the same tenant, policy for policy, in the form their own
// documentation recommends, and inputs that are built before the clock runs.
// What they have no notion of is worked out for them beforehand and costs them
// nothing: in which named locations an address lies, which grant controls the
// methods and the device of a sign-in satisfy. Before anything is timed the
// engines must name the same unsatisfied policies for every sign-in.
//
//	go test -bench . -benchmem
package benchpeers
