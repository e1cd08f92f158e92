package entratest_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

func TestFaults(t *testing.T) {
	c, _ := start(t)
	for _, via := range []string{"sockets", "memory"} {
		t.Run(via, func(t *testing.T) {
			if via == "memory" {
				tr := c.s.Transport()
				c.http = &http.Client{Transport: tr}
			}
			patience := time.Minute
			discover := func() (*http.Response, []byte, error) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				req, _ := http.NewRequestWithContext(ctx, "POST", login+"/common/oauth2/token", strings.NewReader("grant_type=srv_challenge"))
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				resp, err := c.http.Do(req)
				if err != nil {
					return nil, nil, err
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				return resp, body, err
			}
			with := func(f entratest.Fault) (*http.Response, []byte, error) {
				f.Endpoint = entratest.EndpointNonce
				remove := c.s.AddFault(f)
				defer remove()
				return discover()
			}
			for _, kind := range []entratest.FaultKind{entratest.DropBefore, entratest.DropAfter, entratest.Truncate} {
				_, _, err := with(entratest.Fault{Kind: kind})
				require.True(t, brokenOff(err), "%v", err)
			}
			resp, _, err := with(entratest.Fault{Kind: entratest.Throttle, RetryAfter: 17 * time.Second})
			require.NoError(t, err)
			require.Equal(t, 429, resp.StatusCode)
			require.Equal(t, "17", resp.Header.Get("Retry-After"))
			resp, _, err = with(entratest.Fault{Kind: entratest.Status, RetryAfter: 3 * time.Second})
			require.NoError(t, err)
			require.Equal(t, 503, resp.StatusCode)
			resp, body, err := with(entratest.Fault{Kind: entratest.Garbage})
			require.NoError(t, err)
			require.Equal(t, 200, resp.StatusCode)
			require.False(t, json.Valid(body))
			_, body, err = with(entratest.Fault{Kind: entratest.AADSTS, Code: 90033, Error: "temporarily_unavailable"})
			require.NoError(t, err)
			require.Contains(t, string(body), "AADSTS90033")
			_, _, err = with(entratest.Fault{Kind: entratest.Delay, Delay: time.Millisecond})
			require.NoError(t, err)
			patience = 50 * time.Millisecond
			_, _, err = with(entratest.Fault{Kind: entratest.Delay, Delay: -1})
			patience = time.Minute
			require.ErrorIs(t, err, context.DeadlineExceeded)

			remove := c.s.AddFault(entratest.Fault{Endpoint: entratest.EndpointNonce, Kind: entratest.Status, Nth: 2, Times: 2})
			var got []int
			for range 5 {
				resp, _, err := discover()
				require.NoError(t, err)
				got = append(got, resp.StatusCode)
			}
			require.Equal(t, []int{200, 503, 503, 200, 200}, got)
			remove()
			c.s.AddFault(entratest.Fault{Kind: entratest.Status, Times: -1, Match: func(r *http.Request) bool { return r.PostForm.Get("grant_type") == "password" }})
			require.Equal(t, 503, c.payroll().status)
			_, _, err = discover()
			require.NoError(t, err)
			c.s.ClearFaults()
			require.Equal(t, 200, c.payroll().status)
		})
	}
}

// brokenOff reports whether a reply ended before its end, over HTTP/1.1 or HTTP/2.
func brokenOff(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || err != nil && strings.Contains(err.Error(), "stream error")
}

// What was done before a reply was lost stays done.
func TestDropAfterCommits(t *testing.T) {
	c, _ := start(t)
	tok := c.drsToken()
	c.s.AddFault(entratest.Fault{Endpoint: entratest.EndpointDevice, Kind: entratest.DropAfter})
	body, _ := json.Marshal(c.joinBody(0))
	req, _ := http.NewRequestWithContext(t.Context(), "POST", joinURL, strings.NewReader(string(body)))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+tok)
	_, err := c.http.Do(req)
	require.True(t, brokenOff(err), "%v", err)
	require.Len(t, c.s.Devices(), 1)
}

func TestTransports(t *testing.T) {
	c, _ := start(t)
	_, err := c.s.Client().Get("https://example.com/")
	require.ErrorContains(t, err, "does not serve")
	_, err = c.s.Transport().Do(&http.Request{Method: "GET", URL: &url.URL{Scheme: "https", Host: "example.com"}})
	require.ErrorContains(t, err, "does not serve example.com")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", login+"/common/discovery/keys", nil)
	_, err = c.s.Transport().Do(req)
	if err != nil {
		require.ErrorIs(t, err, context.Canceled)
	}
	c.join("alice", 0)
	req, _ = http.NewRequestWithContext(t.Context(), "DELETE", drs+"/EnrollmentServer/device/"+c.deviceID, nil)
	cert := parseB64Cert(t, base64.StdEncoding.EncodeToString(c.cert))
	resp, err := c.s.Transport().WithCertificate(cert).Do(req)
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	big := strings.Repeat("x", 300<<10)
	require.Equal(t, 413, c.form("/common/oauth2/token", "grant_type", big).status)
}
