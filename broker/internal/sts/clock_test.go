package sts

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/internal/wire"
)

// Only a reply of the sign-in service itself tells the time.
func TestWhoTellsTheTime(t *testing.T) {
	late := noon.Add(3 * time.Hour).Format(http.TimeFormat)
	dated := func(c canned, date string) canned {
		h := map[string]string{"Date": date}
		for k, v := range c.header {
			h[k] = v
		}
		c.header = h
		return c
	}
	for name, tt := range map[string]struct {
		call  string
		reply canned
		want  time.Duration
	}{
		"tokens":                       {"refresh token", dated(tokens, late), 3 * time.Hour},
		"a nonce":                      {"nonce", dated(calls["nonce"].ok, late), 3 * time.Hour},
		"an encrypted reply":           {"exchange of a PRT", dated(calls["exchange of a PRT"].ok, late), 3 * time.Hour},
		"a refusal":                    {"refresh token", dated(refused(50013), late), 3 * time.Hour},
		"behind":                       {"nonce", dated(calls["nonce"].ok, noon.Add(-time.Hour).Format(http.TimeFormat)), -time.Hour + time.Second},
		"the same second":              {"nonce", dated(calls["nonce"].ok, noon.Format(http.TimeFormat)), 0},
		"no date":                      {"nonce", calls["nonce"].ok, 0},
		"not a date":                   {"nonce", dated(calls["nonce"].ok, "tomorrow"), 0},
		"kept by a cache":              {"nonce", canned{200, map[string]string{"Date": late, "Age": "60"}, calls["nonce"].ok.body}, 0},
		"a portal's page":              {"nonce", dated(strangers["a portal's page"], late), 0},
		"a gateway's 503":              {"nonce", dated(strangers["503, empty"], late), 0},
		"OAuth's words of a stranger":  {"refresh token", dated(strangers["400 in OAuth's words alone"], late), 0},
		"the realm":                    {"realm", dated(calls["realm"].ok, late), 0},
		"the discovery of a tenant":    {"tenant", dated(calls["tenant"].ok, late), 0},
		"the federation server":        {"federated password", dated(calls["federated password"].ok, late), 0},
		"its metadata":                 {"federation metadata", dated(calls["federation metadata"].ok, late), 0},
		"the registration service":     {"join", dated(calls["join"].ok, late), 0},
		"the page that a cookie opens": {"sign-in page", dated(calls["sign-in page"].ok, late), 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := testClient(t, &answering{canned: tt.reply})
			_ = calls[tt.call].do(t.Context(), c)
			require.Equal(t, tt.want, c.Now().Sub(c.cfg.Now()))
		})
	}
}

// The clock is only moved by what is certain: not by the time that a request
// took, nor by the second that a Date is cut to.
func TestOffset(t *testing.T) {
	for name, tt := range map[string]struct{ sent, date, received, want time.Duration }{
		"in between":                  {0, 2 * time.Second, 5 * time.Second, 0},
		"within the second":           {900 * time.Millisecond, 0, 950 * time.Millisecond, 0},
		"a minute on the way":         {0, time.Second, time.Minute, 0},
		"ahead":                       {0, time.Hour, time.Second, time.Hour - time.Second},
		"behind":                      {time.Hour, 0, time.Hour + time.Second, -time.Hour + time.Second},
		"the clock was set meanwhile": {0, time.Hour, -time.Hour, 2 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.want, offset(noon.Add(tt.date), noon.Add(tt.sent), noon.Add(tt.received)))
		})
	}
}

// A later reply has the last word, so that a clock which was set right is
// believed again.
func TestTimeIsLearnedAnew(t *testing.T) {
	from := &answering{canned: tokens}
	c := testClient(t, from)
	for _, off := range []time.Duration{time.Hour, 0, 2 * time.Hour} {
		from.canned = canned{200, map[string]string{"Date": noon.Add(off).Format(http.TimeFormat)}, tokens.body}
		_, err := c.Grant(t.Context(), "t", wire.PathToken, url.Values{"grant_type": {wire.GrantRefreshToken}})
		require.NoError(t, err)
		require.Equal(t, off, c.Now().Sub(c.cfg.Now()))
	}
}
