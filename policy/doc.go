// Package policy evaluates Microsoft Entra Conditional Access policies.
package policy
