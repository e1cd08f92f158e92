package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/internal/aadsts"
)

// Which sentinel is also which other one.
func TestSentinels(t *testing.T) {
	t.Parallel()
	also := map[error][]error{
		ErrPRTRevoked:         {ErrInteractionRequired},
		ErrPRTExpired:         {ErrInteractionRequired},
		ErrNoAccount:          {ErrInteractionRequired},
		ErrDeviceDisabled:     {ErrDeviceAuth},
		ErrDeviceGone:         {ErrDeviceAuth},
		ErrDeviceNotCompliant: {ErrBlocked},
		ErrThrottled:          {ErrTransient},
	}
	all := []error{
		ErrInteractionRequired, ErrPRTRevoked, ErrPRTExpired, ErrNoAccount, ErrBlocked, ErrDeviceNotRegistered, ErrDeviceAuth,
		ErrDeviceDisabled, ErrDeviceGone, ErrDeviceNotCompliant, ErrBadCredential, ErrUserNotFound, ErrAccountLocked, ErrUserDisabled,
		ErrAppConfig, ErrUserCanceled, ErrThrottled, ErrTransient, ErrKeyUnusable, ErrStateDamaged, ErrClosed, store.ErrNotFound, store.ErrConflict,
	}
	for _, e := range all {
		require.Regexp(t, "^(broker|store): ", e.Error())
		wrapped := &Error{Op: "test", kind: e}
		for _, other := range all {
			want := errors.Is(e, other) && (e == other || slicesHas(also[e], other))
			require.Equal(t, want, errors.Is(wrapped, other), "%v is %v", e, other)
		}
	}
}

func slicesHas(list []error, e error) bool {
	for _, x := range list {
		if x == e {
			return true
		}
	}
	return false
}

// Every row of the table becomes an error that can be tested for, with one
// line of text that says what it means.
func TestServiceErrors(t *testing.T) {
	t.Parallel()
	doubtful := map[int]bool{50006: true, 50013: true, 900384: true} // a wrong clock looks the same
	for _, row := range aadsts.All() {
		for _, g := range []sts.By{sts.ByUser, sts.ByPRT} {
			body := fmt.Sprintf(`{"error":%q,"error_codes":[%d]}`, row.Error, row.Code)
			e := serviceError("acquire token", sts.Refusal(&sts.Reply{Status: 400, Body: []byte(body)}, g))
			require.Equal(t, row.Code, e.Code)
			require.Contains(t, e.Error(), fmt.Sprint("AADSTS", row.Code))
			require.Contains(t, e.Error(), row.Meaning)
			require.NotContains(t, e.Error(), "\n")
			require.Equal(t, Verdict(row.Verdict.String()), e.Verdict)
			switch row.Verdict {
			case aadsts.Fail, aadsts.Pending:
				require.Nil(t, e.kind, row.Code)
			case aadsts.SignInAgain:
				require.Equal(t, g == sts.ByPRT && !doubtful[row.Code], errors.Is(e, ErrPRTRevoked), row.Code)
				require.ErrorIs(t, e, ErrInteractionRequired)
			case aadsts.Expired:
				require.Equal(t, g == sts.ByPRT, errors.Is(e, ErrPRTExpired), row.Code)
				require.ErrorIs(t, e, ErrInteractionRequired)
			default:
				require.ErrorIs(t, e, sentinels[row.Verdict], row.Code)
			}
			said := sts.Refusal(&sts.Reply{Status: 400, Body: []byte(body)}, g)
			require.Equal(t, errors.Is(e, ErrInteractionRequired), said.WantsUser(), row.Code)
			require.Equal(t, errors.Is(e, ErrBlocked), said.Blocks(), row.Code)
			require.Equal(t, isOver(e), said.Over(), row.Code)
		}
	}
}

// A hostile reply puts neither lines nor prose into the text.
func TestErrorTextIsClean(t *testing.T) {
	t.Parallel()
	body, err := json.Marshal(map[string]string{
		"error": "invalid\n_grant\x1b[31m", "suberror": strings.Repeat("x", 1000), "correlation_id": "a\r\nb", "error_description": "secret description",
	})
	require.NoError(t, err)
	e := serviceError("sign in", sts.Refusal(&sts.Reply{Status: 400, Body: body}, sts.ByUser))
	require.NotContains(t, e.Error(), "\n")
	require.NotContains(t, e.Error(), "\x1b")
	require.NotContains(t, e.Error(), "description")
	require.Less(t, len(e.Error()), 400)
}

// An error is one line: the operation, what happened, and how to find it.
func TestErrorText(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]Error{
		"broker: failed":                                  {},
		"broker: sign in: failed":                         {Op: "sign in"},
		"broker: sign in: the PIN is short":               {Op: "sign in", detail: "the PIN is short", kind: ErrPINRules},
		"broker: blocked":                                 {kind: ErrBlocked},
		"broker: no route":                                {cause: errors.New("broker: no route")},
		"broker: temporary failure: no route":             {kind: ErrTransient, cause: errors.New("no route")},
		"broker: failed (HTTP 502)":                       {StatusCode: 502},
		"broker: failed (invalid_grant)":                  {OAuth: "invalid_grant", StatusCode: 400},
		"broker: failed (AADSTS50076)":                    {Code: 50076, StatusCode: 400},
		"broker: failed (AADSTS50076, invalid_grant)":     {Code: 50076, OAuth: "invalid_grant", StatusCode: 400},
		"broker: failed (HTTP 400, correlation id an-id)": {StatusCode: 400, CorrelationID: "an-id"},
		"broker: failed (AADSTS50076, invalid_grant, basic_action, remembered, correlation id an-id): why": {
			Code: 50076, OAuth: "invalid_grant", SubError: "basic_action", Remembered: true, CorrelationID: "an-id", detail: "failed", cause: errors.New("why"),
		},
	} {
		require.Equal(t, want, e.Error())
	}
}

// A flight that Close ended is the end of the broker; what else failed is not.
func TestFlightAfterClose(t *testing.T) {
	t.Parallel()
	var f flights
	work := func(err error) func(context.Context) (int, error) {
		return func(context.Context) (int, error) { return 1, err }
	}
	for _, err := range []error{context.Canceled, ErrTransient} {
		_, got := do(t.Context(), &f, "k", work(err))
		require.ErrorIs(t, got, err)
		require.NotErrorIs(t, got, ErrClosed)
	}
	n, err := do(t.Context(), &f, "k", work(nil))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	f.group.Close()
	_, err = do(t.Context(), &f, "k", work(nil))
	require.ErrorIs(t, err, ErrClosed)
}

func TestPrettyName(t *testing.T) {
	t.Parallel()
	require.Equal(t, "Debian GNU/Linux 12 (bookworm)", prettyName(strings.NewReader("NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n")))
	require.NotEmpty(t, prettyName(strings.NewReader("PRETTY_NAME=\n")))
}
