package sts

import (
	"context"
	"errors"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
)

func transient(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Transient()
}

func TestNetworkError(t *testing.T) {
	address := "https://login.microsoftonline.com/common/UserRealm/alice@contoso.example"
	err := networkError(t.Context(), &url.Error{Op: "Get", URL: address, Err: errors.New("connection refused")}, "id")
	require.True(t, transient(err))
	require.NotContains(t, err.Error(), "alice")
	require.Contains(t, err.Error(), "connection refused")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = networkError(ctx, context.Canceled, "id")
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, transient(err), "the caller's end is no trouble of the network")
}

// The text has the sentence, the code and the cause, as far as there are any.
func TestErrorText(t *testing.T) {
	cause := errors.New("refused")
	for want, e := range map[string]*Error{
		"MFA is required (AADSTS50076)": {Detail: "MFA is required", Code: 50076},
		"AADSTS50076":                   {Code: 50076},
		"AADSTS50076: refused":          {Code: 50076, Cause: cause},
		"no answer: refused":            {Detail: "no answer", Cause: cause},
		"no answer":                     {Detail: "no answer"},
		"refused":                       {Cause: cause},
		"failed":                        {},
		"no answer (AADSTS1): refused":  {Detail: "no answer", Code: 1, Cause: cause},
	} {
		require.Equal(t, want, e.Error())
		require.Equal(t, e.Cause, errors.Unwrap(e))
	}
}

// A PRT is given up only for what ends it for certain: its own tenant says that it
// is revoked or was not used for too long.
func TestOver(t *testing.T) {
	for name, tt := range map[string]struct {
		e    Error
		over bool
	}{
		"revoked":                               {Error{By: ByPRT, Verdict: aadsts.SignInAgain, Code: 50173}, true},
		"expired":                               {Error{By: ByPRT, Verdict: aadsts.Expired, Code: 700082}, true},
		"a refresh token that is revoked":       {Error{By: ByUser, Verdict: aadsts.SignInAgain, Code: 50173}, false},
		"a refresh token that is expired":       {Error{By: ByUser, Verdict: aadsts.Expired, Code: 700082}, false},
		"a device":                              {Error{By: ByDevice, Verdict: aadsts.Expired}, false},
		"revoked, says another tenant":          {Error{By: ByPRT, Verdict: aadsts.SignInAgain, Code: 50173, Abroad: true}, false},
		"expired, says another tenant":          {Error{By: ByPRT, Verdict: aadsts.Expired, Code: 700082, Abroad: true}, false},
		"a signature, perhaps by a wrong clock": {Error{By: ByPRT, Verdict: aadsts.SignInAgain, Code: 50013}, false},
		"a signature that is invalid":           {Error{By: ByPRT, Verdict: aadsts.SignInAgain, Code: 50006}, false},
		"a token's signature":                   {Error{By: ByPRT, Verdict: aadsts.SignInAgain, Code: 900384}, false},
		"MFA is wanted":                         {Error{By: ByPRT, Verdict: aadsts.StepUp, Code: 50076}, false},
		"a temporary failure":                   {Error{By: ByPRT, Verdict: aadsts.Retry}, false},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tt.over, tt.e.Over()) })
	}
}

// Each verdict is for the user, for an administrator, for later, or for the caller.
func TestWhatToDo(t *testing.T) {
	const user, admin, later = "user", "administrator", "later"
	for verdict, want := range map[aadsts.Verdict]string{
		aadsts.None: "", aadsts.Fail: "", aadsts.AppConfig: "", aadsts.BadCredential: "", aadsts.Pending: "", aadsts.Declined: "", aadsts.SwitchCloud: "",
		aadsts.StepUp: user, aadsts.StaleMFA: user, aadsts.Interact: user, aadsts.SignInAgain: user, aadsts.Expired: user, aadsts.HelloKey: user, aadsts.Restart: user,
		aadsts.Blocked: admin, aadsts.DeviceNotCompliant: admin,
		aadsts.Retry: later, aadsts.Throttled: later, aadsts.NewNonce: later,
	} {
		e := &Error{Verdict: verdict}
		require.Equal(t, want == user, e.WantsUser(), verdict)
		require.Equal(t, want == admin, e.Blocks(), verdict)
		require.Equal(t, want == later, e.Transient(), verdict)
	}
}

func TestConsent(t *testing.T) {
	require.True(t, (&Error{Code: 65001}).Consent())
	require.True(t, (&Error{SubError: "consent_required"}).Consent())
	require.True(t, (&Error{OAuth: "consent_required"}).Consent())
	require.False(t, (&Error{Code: 50076, OAuth: "interaction_required", SubError: "basic_action"}).Consent())
}

// What a refusal means, by its code where that is known, and otherwise by its status.
func TestRefusal(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		body   string
		want   aadsts.Verdict
		code   int
		says   string
	}{
		"a code":                           {400, `{"error":"interaction_required","error_codes":[50076]}`, aadsts.StepUp, 50076, "MFA is required"},
		"a code that nobody knows":         {400, `{"error":"interaction_required","error_codes":[999999,888888]}`, aadsts.Interact, 999999, "sign-in page"},
		"the known one of two codes":       {400, `{"error":"invalid_grant","error_codes":[999999,50076]}`, aadsts.StepUp, 50076, "MFA"},
		"a code, with the status of 429":   {429, `{"error":"invalid_grant","error_codes":[50076]}`, aadsts.Throttled, 50076, "MFA"},
		"a code, with the status of 503":   {503, `{"error":"invalid_grant","error_codes":[50076]}`, aadsts.StepUp, 50076, "MFA"},
		"a word, with the status of 500":   {500, `{"error":"invalid_grant"}`, aadsts.Retry, 0, "the service has trouble"},
		"a word, with the status of 499":   {499, `{"error":"invalid_grant"}`, aadsts.Interact, 0, "sign-in page"},
		"nothing, with the status of 500":  {500, `{}`, aadsts.Retry, 0, "the service has trouble"},
		"nothing, with the status of 408":  {408, `{}`, aadsts.Retry, 0, "the service has trouble"},
		"nothing, with the status of 400":  {400, `{}`, aadsts.Fail, 0, "refused the request"},
		"nothing, with the status of 300":  {300, `{}`, aadsts.Fail, 0, "redirects"},
		"nothing, with the status of 399":  {399, `{}`, aadsts.Fail, 0, "redirects"},
		"nothing, with the status of 299":  {299, `{}`, aadsts.Fail, 0, "refused the request"},
		"not JSON, with the status of 502": {502, `<html>`, aadsts.Retry, 0, "the service has trouble"},
	} {
		t.Run(name, func(t *testing.T) {
			e := Refusal(&Reply{Status: tt.status, Body: []byte(tt.body), CorrelationID: "id"}, ByPRT)
			require.True(t, e.Said)
			require.Equal(t, tt.want, e.Verdict)
			require.Equal(t, tt.code, e.Code)
			require.Equal(t, ByPRT, e.By)
			require.Equal(t, "id", e.CorrelationID)
			require.ErrorContains(t, e, tt.says)
		})
	}
	e := Refusal(&Reply{Status: 400, Body: []byte(`{"error":"x","correlation_id":"theirs"}`), CorrelationID: "ours"}, ByPRT)
	require.Equal(t, "theirs", e.CorrelationID)
}

// A success that cannot be read does not count as the service's, unless it holds an error.
func TestUnreadable(t *testing.T) {
	r := &Reply{Status: 200, CorrelationID: "id"}
	var e *Error
	require.ErrorAs(t, Unreadable(r, &prt.ErrorReply{Code: "invalid_grant", Codes: []int{50173}}, ByPRT), &e)
	require.True(t, e.Said && e.Over())
	require.ErrorAs(t, Unreadable(r, prt.ErrReply, ByPRT), &e)
	require.False(t, e.Said)
	require.ErrorContains(t, e, "not what the protocol says")
	cause := errors.New("a broken key")
	require.ErrorAs(t, Unreadable(r, cause, ByPRT), &e)
	require.False(t, e.Said)
	require.ErrorIs(t, e, cause)
	require.ErrorContains(t, e, "could not be read")
}
