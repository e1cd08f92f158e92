// Package policytest tests code that evaluates Conditional Access. Naive is an
// evaluator that reads every policy anew and is written to be obviously
// right, however slow; it shares nothing with package policy but the types.
// Generator makes random policies and sign-ins that hit each other often.
// Check compares the two.
package policytest
