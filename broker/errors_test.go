package broker

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
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
	for _, row := range aadsts.All() {
		for _, g := range []grantKind{grantUser, grantPRT} {
			e := serviceError("acquire token", &prt.ErrorReply{Code: row.Error, Codes: []int{row.Code}}, &reply{status: 400}, g, noon)
			require.Equal(t, row.Code, e.Code)
			require.Contains(t, e.Error(), fmt.Sprint("AADSTS", row.Code))
			require.Contains(t, e.Error(), row.Meaning)
			require.NotContains(t, e.Error(), "\n")
			require.Equal(t, Verdict(row.Verdict.String()), e.Verdict)
			switch row.Verdict {
			case aadsts.Fail, aadsts.Pending:
				require.Nil(t, e.kind, row.Code)
			case aadsts.SignInAgain:
				require.Equal(t, g == grantPRT && !doubtful[row.Code], errors.Is(e, ErrPRTRevoked), row.Code)
				require.ErrorIs(t, e, ErrInteractionRequired)
			case aadsts.Expired:
				require.Equal(t, g == grantPRT, errors.Is(e, ErrPRTExpired), row.Code)
				require.ErrorIs(t, e, ErrInteractionRequired)
			default:
				require.ErrorIs(t, e, sentinels[row.Verdict], row.Code)
			}
		}
	}
}

// A hostile reply puts neither lines nor prose into the text.
func TestErrorTextIsClean(t *testing.T) {
	t.Parallel()
	e := serviceError("sign in", &prt.ErrorReply{
		Code: "invalid\n_grant\x1b[31m", Suberror: strings.Repeat("x", 1000), CorrelationID: "a\r\nb", Description: "secret description",
	}, &reply{status: 400}, grantUser, noon)
	require.NotContains(t, e.Error(), "\n")
	require.NotContains(t, e.Error(), "\x1b")
	require.NotContains(t, e.Error(), "description")
	require.Less(t, len(e.Error()), 400)
}

func TestNetworkError(t *testing.T) {
	t.Parallel()
	address := "https://login.microsoftonline.com/common/UserRealm/alice@contoso.example"
	err := networkError(t.Context(), &url.Error{Op: "Get", URL: address, Err: errors.New("connection refused")}, "id")
	require.ErrorIs(t, err, ErrTransient)
	require.NotContains(t, err.Error(), "alice")
	require.Contains(t, err.Error(), "connection refused")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = networkError(ctx, context.Canceled, "id")
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, ErrTransient, "the caller's end is no trouble of the network")
}

func TestPrettyName(t *testing.T) {
	t.Parallel()
	require.Equal(t, "Debian GNU/Linux 12 (bookworm)", prettyName(strings.NewReader("NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n")))
	require.NotEmpty(t, prettyName(strings.NewReader("PRETTY_NAME=\n")))
}

func TestFindAssertion(t *testing.T) {
	t.Parallel()
	const assertion = `<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:1.0:assertion" ID="a"> <x>1</x></saml:Assertion>`
	got, err := findAssertion([]byte(`<Envelope><Body><Token>` + assertion + `</Token></Body></Envelope>`))
	require.NoError(t, err)
	require.Equal(t, assertion, string(got))
	for _, bad := range []string{"", "<a/>", "<Assertion/>", `<s:Assertion xmlns:s="urn:oasis:names:tc:SAML:2.0:assertion">`} {
		_, err := findAssertion([]byte(bad))
		require.Error(t, err, bad)
	}
}
