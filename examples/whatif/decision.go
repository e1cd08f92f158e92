package main

import (
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/policy"
)

// decision says what a decision means, in one or two sentences.
func (t *tenant) decision(d *policy.Decision) string {
	by := t.deciding(d)
	switch d.Outcome {
	case policy.OutcomeGrant:
		if d.Applied == 0 {
			return "Granted: no enforced policy applies, so nothing guards this sign-in."
		}
		return fmt.Sprintf("Granted: %s, and nothing is missing.", count(d.Applied, "enforced policy applies", "enforced policies apply"))
	case policy.OutcomeInterrupt:
		return fmt.Sprintf("Interrupted: the user is asked for %s, because of %s.", t.controls(d.Prompt(), " and "), by)
	case policy.OutcomeBlock:
		return t.blocked(d, by)
	}
	return "Not evaluated: " + invalidText(d.Reason) + "."
}

func (t *tenant) blocked(d *policy.Decision, by string) string {
	switch d.Reason {
	case policy.Unsatisfiable:
		code := ""
		for c := range d.Missing() {
			if code == "" {
				code = missingCodes[c.Kind]
			}
		}
		if code != "" {
			code = " (AADSTS" + code + ")"
		}
		return fmt.Sprintf("Blocked%s: this sign-in cannot present %s, demanded by %s.", code, t.controls(d.Missing(), " or "), by)
	case policy.Unevaluable:
		return "Blocked, because -fail-closed is set: " + by + " may apply and cannot be evaluated."
	}
	return "Blocked (AADSTS53003) by " + by + "."
}

// missingCodes are what Entra answers for a control that cannot be fulfilled.
var missingCodes = map[policy.ControlKind]string{
	policy.TokenProtection:      "530084",
	policy.CompliantDevice:      "53000",
	policy.HybridJoinedDevice:   "53001",
	policy.ApprovedApplication:  "53002",
	policy.CompliantApplication: "53009",
}

// deciding names the policies that decided.
func (t *tenant) deciding(d *policy.Decision) string {
	var names []string
	for p := range d.Policies() {
		names = append(names, "“"+policyName(p)+"”")
	}
	if more := d.Deciding - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return enumerate(names)
}

func (t *tenant) controls(seq iter.Seq[policy.Control], last string) string {
	var names []string
	for c := range seq {
		names = append(names, t.control(c))
	}
	return join(names, last)
}

// remarks are what a reader should know beside the decision.
func (t *tenant) remarks(d *policy.Decision) (out []string) {
	if d.Unevaluable > 0 && d.Reason != policy.Unevaluable {
		out = append(out, fmt.Sprintf("%s may apply and cannot be evaluated; see the diagnostics.", count(d.Unevaluable, "policy", "policies")))
	}
	if s := sessionText(&d.Session); s != "" && d.Outcome != policy.OutcomeBlock {
		out = append(out, "Session: "+s+".")
	}
	return out
}

func sessionText(s *policy.Session) string {
	var parts []string
	say := func(when bool, text string) {
		if when {
			parts = append(parts, text)
		}
	}
	say(s.EveryTime, "sign in every time")
	say(s.SignInFrequency > 0, "sign in again every "+span(s.SignInFrequency))
	say(s.EveryTimeMFA, "MFA every time")
	say(s.SignInFrequencyMFA > 0, "MFA again every "+span(s.SignInFrequencyMFA))
	say(s.PersistentBrowser == policy.BrowserNever, "the browser session never persists")
	say(s.PersistentBrowser == policy.BrowserAlways, "the browser session always persists")
	say(s.CloudAppSecurity == policy.CloudAppSecurityBlockDownloads, "downloads blocked by Defender for Cloud Apps")
	say(s.CloudAppSecurity == policy.CloudAppSecurityMonitorOnly, "monitored by Defender for Cloud Apps")
	say(s.CloudAppSecurity == policy.CloudAppSecurityCustom, "a custom policy of Defender for Cloud Apps")
	say(s.ContinuousAccess == policy.ContinuousAccessStrictLocation, "strictly enforced location")
	say(s.ContinuousAccess == policy.ContinuousAccessStrict, "strict continuous access evaluation")
	say(s.ContinuousAccess == policy.ContinuousAccessDisabled, "no continuous access evaluation")
	say(s.AppEnforcedRestrictions, "app enforced restrictions")
	say(s.TokenProtection, "token protection")
	say(s.ResilienceDisabled, "no resilience defaults")
	say(s.SecureAccessProfiles > 0, count(s.SecureAccessProfiles, "Global Secure Access profile", "Global Secure Access profiles"))
	return strings.Join(parts, "; ")
}

func invalidText(r policy.Reason) string {
	switch r {
	case policy.NoSubject:
		return "nobody signs in"
	case policy.NoTarget:
		return "it has no single target"
	case policy.NoClientApp:
		return "it has no type of client"
	}
	return "a value is out of range"
}

// span writes how often: "12 hours", "day".
func span(d time.Duration) string {
	const day = 24 * time.Hour
	unit, name := time.Hour, "hour"
	if d >= day && d%day == 0 {
		unit, name = day, "day"
	}
	if d == unit {
		return name
	}
	return fmt.Sprintf("%d %ss", d/unit, name)
}
