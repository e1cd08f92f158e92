package entratest

import "time"

// SignIn is an entry of the sign-in log: one token request that was granted or
// refused, or the outcome of one page of an interactive sign-in.
type SignIn struct {
	Seq           int64 // 1, 2, 3 …, without gaps
	Time          time.Time
	CorrelationID string
	Endpoint      Endpoint // such as EndpointToken
	Grant         string   // such as password, refresh_token, prt, prt_renewal, prt_exchange, prt_cookie
	Interactive   bool     // the user was asked for something on a page

	Username string
	UserID   string
	ClientID string
	// ServicePrincipalID is the object id of an application that asked for an
	// app-only token; "": a user signed in.
	ServicePrincipalID string
	Resource           string   // app id of the resource; "" for a PRT
	DeviceID           string   // "": no device
	Platform           string   // from the User-Agent
	IPAddress          string   // of the request, as Conditional Access sees it; "": unknown
	Country            string   // ISO 3166-1 alpha-2; "": unknown
	UniqueTokenID      string   // claim uti of the tokens that were issued; "": none
	DeviceCode         bool     // the session began with a device code
	AMR                []string // of the session, as in the claim amr
	MFAPrompts         int      // how often this sign-in asked for a second factor

	ErrorCode int    // AADSTS code; zero: granted
	Error     string // the OAuth error of the reply, such as invalid_grant; "": granted
	Suberror  string // of the reply, such as basic_action; "": none
	// Policies holds the result of each Conditional Access policy; empty if
	// Conditional Access was not consulted, as for every PRT.
	Policies []PolicyResult
}

// PolicyResult is the result of one Conditional Access policy, with the values of
// Microsoft Graph (appliedConditionalAccessPolicyResult): success, failure,
// notApplied, notEnabled, reportOnlySuccess, reportOnlyFailure,
// reportOnlyNotApplied, reportOnlyInterrupted.
type PolicyResult struct {
	ID     string // of the policy
	Name   string // its displayName
	Result string
}

// SignIns returns the sign-in log, oldest first.
func (s *Server) SignIns() []SignIn {
	list := s.world().log.All()
	out := make([]SignIn, 0, len(list))
	for _, e := range list {
		out = append(out, signInOf(e))
	}
	return out
}
