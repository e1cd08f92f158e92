package sts

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
)

// The registration service says in words why it refuses, and the status says the
// rest.
func TestRegistrationError(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		body   string
		want   aadsts.Verdict
		says   string
	}{
		"a code decides":                     {401, `{"error":"invalid_grant","error_codes":[50076],"error_description":"AADSTS50076: mfa"}`, aadsts.StepUp, "MFA is required"},
		"too many devices, by its name":      {403, `{"ErrorType":"DeviceCapReached","Message":"m"}`, aadsts.Blocked, "as many devices"},
		"too many devices, in the sentence":  {400, `{"ErrorType":"AuthorizationError","Message":"User quota exceeded"}`, aadsts.Blocked, "as many devices"},
		"MFA":                                {403, `{"ErrorType":"AuthorizationError","Message":"MFA required"}`, aadsts.Interact, "asks for MFA"},
		"MFA, spelled out":                   {400, `{"ErrorType":"x","Message":"Multi-Factor authentication"}`, aadsts.Interact, "asks for MFA"},
		"MFA, by another name":               {400, `{"ErrorType":"x","Message":"Strong Auth needed"}`, aadsts.Interact, "asks for MFA"},
		"not allowed, by its name":           {400, `{"ErrorType":"authorizationerror","Message":"m"}`, aadsts.Blocked, "may not register"},
		"not allowed, by the status":         {403, `{"ErrorType":"x","Message":"m"}`, aadsts.Blocked, "may not register"},
		"the token, by the name":             {400, `{"ErrorType":"AuthenticationError","Message":"m"}`, aadsts.Interact, "did not take the token"},
		"the token, by the status":           {401, `{"ErrorType":"x","Message":"m"}`, aadsts.Interact, "did not take the token"},
		"the directory":                      {400, `{"ErrorType":"DirectoryError","Message":"m"}`, aadsts.Retry, "not yet"},
		"anything else":                      {400, `{"ErrorType":"BadRequest","Message":"m"}`, aadsts.Fail, "the registration service refused"},
		"anything else, at the end of 4xx":   {499, `{"ErrorType":"BadRequest","Message":"m"}`, aadsts.Fail, "the registration service refused"},
		"trouble":                            {500, `{"ErrorType":"ServerError","Message":"m"}`, aadsts.Retry, "has trouble"},
		"too many requests":                  {429, `{"ErrorType":"TooMany","Message":"m"}`, aadsts.Throttled, ""},
		"trouble, with a name that is known": {500, `{"ErrorType":"DirectoryError","Message":"m"}`, aadsts.Retry, "not yet"},
	} {
		t.Run(name, func(t *testing.T) {
			e := RegistrationError(&Reply{Status: tt.status, Body: []byte(tt.body)})
			require.Equal(t, tt.want, e.Verdict)
			require.ErrorContains(t, e, tt.says)
			require.Equal(t, ByDevice, e.By)
			require.False(t, e.Over())
		})
	}
}

// Only the directory's word means that a device is gone; whatever else fails leaves
// the registration alone.
func TestDeleteDevice(t *testing.T) {
	for name, tt := range map[string]struct {
		canned
		want aadsts.Verdict
	}{
		"gone":                     {canned{400, nil, `{"ErrorType":"DirectoryError","Message":"m"}`}, aadsts.DeviceGone},
		"not allowed":              {canned{403, nil, `{"ErrorType":"AuthorizationError","Message":"m"}`}, aadsts.Blocked},
		"trouble":                  {canned{500, nil, `{"ErrorType":"ServerError","Message":"m"}`}, aadsts.Retry},
		"a stranger's 404":         {strangers["404, a page"], aadsts.Retry},
		"a stranger's empty reply": {strangers["204"], aadsts.Retry},
	} {
		t.Run(name, func(t *testing.T) {
			from := &answering{canned: tt.canned}
			var e *Error
			require.ErrorAs(t, testClient(t, &answering{}).DeleteDevice(t.Context(), "https://drs.example/device/1", from), &e)
			require.Equal(t, tt.want, e.Verdict)
			require.Equal(t, 1, from.asked, "by the transport that has the device's certificate")
		})
	}
}

// A Hello key that the service does not have is removed already.
func TestDeleteKey(t *testing.T) {
	remove := func(c canned) error {
		return testClient(t, &answering{canned: c}).DeleteKey(t.Context(), "https://drs.example/key/1", prt.NewSecret("t"), "")
	}
	require.NoError(t, remove(canned{404, nil, `{"ErrorType":"NotFound","Message":"m"}`}))
	require.ErrorContains(t, remove(strangers["404, a page"]), "answered in its place")
	require.ErrorContains(t, remove(canned{403, nil, `{"ErrorType":"x","Message":"m"}`}), "may not register")
}
