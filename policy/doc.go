// Package policy evaluates Microsoft Entra Conditional Access: it loads the
// policies that a tenant exports from Microsoft Graph and answers, for a
// sign-in, what Entra would: a token, a block, or the controls that are still
// missing, and why. It does no I/O and reads no clock.
//
//	Load → Bundle → Compile → Set → Evaluate(SignIn) → Decision
//	                              → Explain(SignIn)  → Explanation
//
// In a program:
//
//	bundle, diagnostics, err := policy.Load(strings.NewReader(export))
//	if err != nil {
//		log.Fatal(err)
//	}
//	set, err := policy.Compile(bundle, policy.FailClosed())
//	if err != nil {
//		log.Fatal(err)
//	}
//	in := &policy.SignIn{
//		User:      &policy.User{ID: "alice"},
//		AppID:     "00000003-0000-0000-c000-000000000000", // Microsoft Graph
//		ClientApp: policy.ClientMobileOrDesktop,
//		Platform:  policy.PlatformLinux,
//		Methods:   claims.Password,
//	}
//	d := set.Evaluate(in)
//
// # Which policies apply
//
// A policy applies when it is not disabled and every condition that it
// configures matches. Within a condition the inclusions are ORed and the
// exclusions subtracted: exclusion always wins. A condition that is not
// configured matches everything, except users: without users a policy matches
// no one.
//
// The kind of identity decides which condition selects it: conditions.users for
// people, conditions.clientApplications for service principals and agents,
// conditions.agents for the user accounts of agents. All users are all people,
// including guests of every type. Groups are transitive and roles are template
// ids of active, tenant-scoped assignments; the caller resolves both.
//
// The target is one of four things: the application a token is for (not the
// client), a user action, an authentication context, a traffic profile. All
// resources include registering security information but neither registering a
// device nor authentication contexts. Office365 and similar names stand for
// sets of applications that Microsoft edits; they are data, see [WithAppGroup].
//
// Risk levels are lists, not thresholds. An address lies in many named
// locations at once. Platforms are what the user agent says; a list of names
// never matches an unknown one. A device-code session remains one for every
// token derived from it. On a device that is not registered every property is
// null to a filter rule, and negative comparisons with null are true.
//
// # What they demand
//
// Policies are never merged: each one that applies must be satisfied by itself,
// by all of its controls (AND) or by any (OR). One that blocks decides the
// outcome. Report-only policies are judged and never enforced.
//
// The control mfa is satisfied by an MFA claim of any kind; an authentication
// strength only by one of its combinations of methods. Device controls look at
// the registered device behind the sign-in, which a device-code flow, a legacy
// protocol, or a guest without device trust cannot show. What is missing is
// asked for in Entra's order: MFA, strength, compliant device, hybrid joined
// device, app protection, password change, terms of use, custom factors. Two
// controls without an operator are both demanded. The approved app control has
// been retired since 2026-07-01 and demands nothing; [ApprovedAppUntil] changes
// the date. Token protection refuses a request that is not bound to the device.
// A control that no prompt and no other device can satisfy makes the sign-in
// [Unsatisfiable], which is a Block.
//
// The session controls of all policies that apply are combined, the stricter
// winning. A sign-in frequency compares the time of the last proof of a
// credential with now, and asks for a new one when it is too old; a plain
// renewal of a Primary Refresh Token proves nothing. Conditional Access is not
// evaluated when a Primary Refresh Token is issued or renewed, only when a
// token for a resource is.
//
// # Where the documents are silent
//
// Some behaviour is not published. The choices here: a request for baseline
// scopes only (see [ScopesOf]) is judged as the directory's application, or the
// tenant's own ([WithBaselineApp]), as in the rollout that began on 2026-06-15;
// [LegacyBaselineScopes] keeps the exemption before it. Policies for B2B direct
// connect reach B2B collaboration users in Teams and SharePoint by inclusion
// only; a strength on registering security information replaces those of
// policies that do not name the action; Windows Hello is not offered as a
// step-up; external MFA that says only "mfa" satisfies the control mfa but no
// strength.
//
// What cannot be modelled makes its policy unevaluable, with a [Diagnostic].
// Such a policy is counted when it may apply, and blocks if the Set was
// compiled with [FailClosed].
//
// # How it is fast
//
// Compile turns each value of each condition into a row of bits, one for each
// policy, inclusions less exclusions; a sign-in selects ten rows and ANDs
// them, 64 policies at a time. Addresses are found in a table of the regions
// in which the set of named locations is the same; filter rules are parsed
// once; a [Subject] and an [Endpoint] keep the rows of a principal and a
// device. Nothing allocates, whatever the number of policies. Time grows
// linearly with the policies, even if each has a filter, a location and terms of
// its own. So does memory, but for locations: each distinct set of them that an
// address can be in takes a row of one bit for each policy.
//
// # Sources
//
// Microsoft Graph: conditionalAccessPolicy, namedLocation,
// authenticationStrengthPolicy, conditionalAccessRoot: evaluate (the What If
// API), appliedConditionalAccessPolicy. Microsoft Entra documentation: "Building
// a Conditional Access policy", "Users and groups", "Targeting resources",
// "Network", "Filter for devices", "Authentication strengths", "Session
// lifetime", "Report-only mode", "Authentication flows", "Conditional Access
// for workload identities", "Conditional Access for external users", as of
// early 2026. The package is not supported by Microsoft.
package policy
