package aadsts

import (
	"cmp"
	"slices"
	"strings"
)

// An Entry is a row of the table.
type Entry struct {
	Code    int
	Verdict Verdict
	Error   string // the OAuth error it usually comes with; some come with several
	Meaning string // a clause for people, lower case, without a full stop
}

// Lookup returns the row of a code.
func Lookup(code int) (Entry, bool) {
	i, ok := slices.BinarySearchFunc(table[:], code, func(e Entry, code int) int { return cmp.Compare(e.Code, code) })
	if !ok {
		return Entry{}, false
	}
	return table[i], true
}

// All returns the rows, sorted by code.
func All() []Entry { return slices.Clone(table[:]) }

// Classify judges an error reply. The exact code decides before the suberror:
// a disabled device, for one, comes with a suberror that covers much else. The
// first known code of the reply is taken; without one the suberror and then
// the OAuth error decide. The entry's Code is 0 when no code was known.
func Classify(codes []int, oauth, suberror string) Entry {
	for _, c := range codes {
		if e, ok := Lookup(c); ok {
			return e
		}
	}
	if v := bySubError(suberror); v != None {
		return Entry{Verdict: v, Error: oauth, Meaning: v.meaning()}
	}
	v := byError(oauth)
	return Entry{Verdict: v, Error: oauth, Meaning: v.meaning()}
}

func bySubError(s string) Verdict {
	switch s {
	case "basic_action":
		return StepUp
	case "additional_action", "consent_required", "user_password_expired", "protection_policy_required", "token_expired":
		return Interact
	case "message_only":
		return Blocked
	case "bad_token":
		return SignInAgain
	case "transfer_token_expired":
		return Expired
	case "client_mismatch":
		return AppConfig
	case "device_authentication_failed":
		return DeviceAuth
	case "insufficient_device_strength":
		return DeviceNotCompliant
	case "user_account_deleted":
		return UserNotFound
	case "tts_denied", "user_skipped":
		return Declined
	}
	return None
}

func byError(s string) Verdict {
	switch s {
	case "invalid_grant", "interaction_required", "login_required", "consent_required":
		return Interact
	case "invalid_client", "unauthorized_client", "invalid_resource", "invalid_scope", "invalid_tenant", "invalid_instance":
		return AppConfig
	case "access_denied":
		return Blocked
	case "server_error", "temporarily_unavailable":
		return Retry
	case "authorization_pending", "slow_down":
		return Pending
	case "authorization_declined":
		return Declined
	case "expired_token", "code_expired":
		return Restart
	case "":
		return None
	}
	return Fail
}

// meaning is for replies whose code says nothing.
func (v Verdict) meaning() string {
	switch v {
	case StepUp:
		return "MFA or another step of the user is required"
	case Interact:
		return "the user has something to do on the sign-in page"
	case SignInAgain:
		return "the grant was revoked"
	case Expired:
		return "the grant has expired"
	case Blocked:
		return "refused by a policy"
	case DeviceAuth:
		return "the device was not accepted"
	case DeviceNotCompliant:
		return "the device does not meet the policy"
	case UserNotFound:
		return "the user is not in the tenant"
	case AppConfig:
		return "the app or the tenant is not configured for this request"
	case Retry:
		return "a temporary failure of the service"
	case Pending:
		return "the user has not finished signing in"
	case Declined:
		return "the user declined"
	case Restart:
		return "the code has expired"
	case Fail:
		return "the service refused the request"
	}
	return "the service reported an error"
}

// maxWord bounds what a reply puts into a text, in bytes.
const maxWord = 64

// Clean makes a word of a reply printable and short: it may hold anything.
func Clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r > '~' {
			return '?'
		}
		return r
	}, s)
	if len(s) > maxWord {
		s = s[:maxWord] + "…"
	}
	return s
}
