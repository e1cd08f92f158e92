// Package policytest tests code that evaluates Conditional Access. Naive is an
// evaluator that reads every policy anew and is written to be obviously right,
// however slow; it shares nothing with package policy but the types. Generator
// makes random policies and sign-ins that often match each other. Check
// compares the two evaluators.
package policytest
