package broker_test

import (
	"bufio"
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/store"
)

// sentinelNames are the sentinels that testdata/aadsts.tsv names.
var sentinelNames = map[string]error{
	"ErrAppConfig":           broker.ErrAppConfig,
	"ErrTransient":           broker.ErrTransient,
	"ErrThrottled":           broker.ErrThrottled,
	"ErrInteractionRequired": broker.ErrInteractionRequired,
	"ErrPRTRevoked":          broker.ErrPRTRevoked,
	"ErrPRTExpired":          broker.ErrPRTExpired,
	"ErrBadCredential":       broker.ErrBadCredential,
	"ErrUserNotFound":        broker.ErrUserNotFound,
	"ErrUserDisabled":        broker.ErrUserDisabled,
	"ErrAccountLocked":       broker.ErrAccountLocked,
	"ErrBlocked":             broker.ErrBlocked,
	"ErrDeviceNotCompliant":  broker.ErrDeviceNotCompliant,
	"ErrDeviceNotRegistered": broker.ErrDeviceNotRegistered,
	"ErrDeviceAuth":          broker.ErrDeviceAuth,
	"ErrDeviceDisabled":      broker.ErrDeviceDisabled,
	"ErrDeviceGone":          broker.ErrDeviceGone,
	"ErrUserCanceled":        broker.ErrUserCanceled,
	"-":                      nil,
}

// alsoIs are the sentinels that wrap others.
var alsoIs = map[error]error{
	broker.ErrPRTRevoked:         broker.ErrInteractionRequired,
	broker.ErrPRTExpired:         broker.ErrInteractionRequired,
	broker.ErrThrottled:          broker.ErrTransient,
	broker.ErrDeviceDisabled:     broker.ErrDeviceAuth,
	broker.ErrDeviceGone:         broker.ErrDeviceAuth,
	broker.ErrDeviceNotCompliant: broker.ErrBlocked,
}

type verdictRow struct {
	code            int
	oauth, suberror string
	verdict         broker.Verdict
	sentinel        error
	requests        int
}

func verdictRows(t *testing.T) (rows []verdictRow) {
	t.Helper()
	f, err := os.Open("testdata/aadsts.tsv")
	require.NoError(t, err)
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if strings.HasPrefix(s.Text(), "#") {
			continue
		}
		c := strings.Split(s.Text(), "\t")
		require.Len(t, c, 6, s.Text())
		sentinel, ok := sentinelNames[c[4]]
		require.True(t, ok, c[4])
		r := verdictRow{oauth: c[1], suberror: strings.TrimPrefix(c[2], "-"), verdict: broker.Verdict(c[3]), sentinel: sentinel}
		r.code, err = strconv.Atoi(c[0])
		require.NoError(t, err)
		r.requests, err = strconv.Atoi(c[5])
		require.NoError(t, err)
		rows = append(rows, r)
	}
	return rows
}

// fault makes the service answer the exchange of a PRT with the row's code.
func (r verdictRow) fault() entratest.Fault {
	f := entratest.Fault{
		Endpoint: entratest.EndpointToken,
		Kind:     entratest.AADSTS,
		Times:    -1,
		Match: func(r *http.Request) bool {
			return r.PostForm.Get("grant_type") == "urn:ietf:params:oauth:grant-type:jwt-bearer"
		},
		Code:     r.code,
		Error:    r.oauth,
		Suberror: r.suberror,
	}
	switch r.oauth {
	case "invalid_client", "unauthorized_client":
		f.Status = http.StatusUnauthorized
	case "server_error", "temporarily_unavailable":
		f.Status = http.StatusServiceUnavailable
	}
	if r.code == 90055 {
		f.Status, f.RetryAfter = http.StatusTooManyRequests, time.Second
	}
	return f
}

// Whatever the service answers, the app sees what it means, the request is
// repeated only where that helps, and nothing local is lost: when the trouble
// is over, the next call works or the error is the one before.
func TestEveryCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	w.join()
	acct := w.signIn()
	state := w.store.(*store.Memory)
	rows := verdictRows(t)
	require.Greater(t, len(rows), 230)
	for _, row := range rows {
		t.Run(strconv.Itoa(row.code), func(t *testing.T) {
			w.silent(graph, broker.WithForceRefresh()) // renews the PRT when that is due
			b := w.on(t, copyStore(t, state))
			remove := w.srv.AddFault(row.fault())
			defer remove()
			w.wire.take()
			_, err := b.AcquireTokenSilent(t.Context(), graph)
			requests := 0
			for _, p := range w.wire.take() {
				if p == "token" {
					requests++
				}
			}
			require.Equal(t, row.requests, requests, "requests")
			row.check(t, err)

			accts, err := b.Accounts(t.Context())
			require.NoError(t, err)
			require.Equal(t, []broker.Account{acct}, accts, "nothing is wiped")

			remove()
			w.clock.Advance(10 * time.Minute) // a circuit that opened closes again
			_, err = b.AcquireTokenSilent(t.Context(), graph)
			if over := row.sentinel == broker.ErrPRTRevoked || row.sentinel == broker.ErrPRTExpired; over {
				require.ErrorIs(t, err, row.sentinel, "the end of a PRT is remembered")
				return
			}
			require.NoError(t, err, "afterwards")
		})
	}
}

func (r verdictRow) check(t *testing.T, err error) {
	t.Helper()
	var e *broker.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, r.verdict, e.Verdict)
	require.Equal(t, r.code, e.Code)
	require.Equal(t, []int{r.code}, e.Codes)
	require.Equal(t, r.oauth, e.OAuth)
	require.Equal(t, r.suberror, e.SubError)
	require.NotEmpty(t, e.CorrelationID)
	require.NotEmpty(t, e.TraceID)
	require.Equal(t, graph, e.Scopes)
	require.Contains(t, err.Error(), "broker: acquire token: ")
	require.Contains(t, err.Error(), "AADSTS"+strconv.Itoa(r.code))
	require.NotContains(t, err.Error(), "asked for by a fault", "no text of the service")
	for name, s := range sentinelNames {
		if s != nil {
			require.Equal(t, s == r.sentinel || s == alsoIs[r.sentinel], errors.Is(err, s), name)
		}
	}
}

// A credential that the service refuses is sent once: each try counts towards
// the account's lock. So is the assertion that a federation server gave for
// one, with the password that earned it.
func TestCredentialsAreSentOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory, withFederation())
	w.join()
	for name, tt := range map[string]struct {
		cred  broker.Credential
		trust int // requests to the federation server
	}{
		"password":  {broker.Password{Username: alice, Password: password}, 0},
		"federated": {broker.Federated{Username: dora, Password: password}, 1},
	} {
		for _, row := range verdictRows(t) {
			switch row.verdict {
			case "bad credential", "account locked", "user disabled", "user not found", "retry":
			default:
				continue
			}
			t.Run(name+"/"+strconv.Itoa(row.code), func(t *testing.T) {
				f := row.fault()
				f.Status = http.StatusBadRequest
				remove := w.srv.AddFault(f)
				defer remove()
				w.clock.Advance(time.Hour)
				w.wire.take()
				_, err := w.b.SignIn(t.Context(), tt.cred)
				require.ErrorIs(t, err, row.sentinel)
				sent := w.wire.take()
				require.Equal(t, 1, count(sent, "token"))
				require.Equal(t, tt.trust, countTrust(sent))
			})
		}
	}
}
