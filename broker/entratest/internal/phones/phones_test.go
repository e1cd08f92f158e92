package phones_test

import (
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/phones"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/seal"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

type world struct {
	*phones.Service
	now time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{now: start}
	r := ids.NewSource(1)
	dir, err := directory.New([]directory.TenantSpec{{Domain: "contoso.example", Users: []directory.UserSpec{
		// The secret of RFC 6238, appendix B.
		{Username: "alice", TOTPSecret: "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", NumberMatch: true, Phone: "+41 79 123 45 67"}, {Username: "bob"},
	}}}, 1, r)
	require.NoError(t, err)
	clock := func() time.Time { return w.now }
	keeper := &session.Keeper{Directory: dir, Rand: r, Now: clock, Logf: t.Logf, Box: seal.New(r.Bytes(32), r), Pending: session.NewPending(),
		TTL: session.TTL{Prompt: time.Minute, Message: 3 * time.Minute}}
	w.Service = &phones.Service{Keeper: keeper, Web: web.New(web.Config{Directory: dir, Rand: r, Now: clock, Logf: t.Logf})}
	w.Routes()
	return w
}

func (w *world) ring(kind session.PromptKind) *session.Prompt {
	return w.Keeper.NewPrompt(w.Keeper.Directory.User("alice@contoso.example"), kind, "Payroll")
}

func (w *world) state(p *session.Prompt) session.LoginState {
	return w.Keeper.Pending.Prompt(p.ID).State
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.False(t, w.TypeNumber("alice", 10), "nothing waits")
	require.False(t, w.PickUp("alice", true))
	_, ok := w.SMS("alice")
	require.False(t, ok)
	for _, nobody := range []string{"mallory", "alice@nowhere.example"} {
		require.False(t, w.TypeNumber(nobody, 1))
		require.False(t, w.PickUp(nobody, true))
		_, ok := w.SMS(nobody)
		require.False(t, ok)
		_, _, err := w.OneTimeCode(nobody)
		require.ErrorIs(t, err, directory.ErrNoUser)
	}

	p := w.ring(session.PromptNumber)
	require.True(t, w.TypeNumber("alice", p.Number))
	require.Equal(t, session.LoginApproved, w.state(p))
	p = w.ring(session.PromptNumber)
	w.TypeNumber("alice@contoso.example", p.Number+1)
	require.Equal(t, session.LoginDeclined, w.state(p), "a wrong number declines")
	p = w.ring(session.PromptNumber)
	require.True(t, w.Decline("alice"))
	require.Equal(t, session.LoginDeclined, w.state(p))
	require.False(t, w.Decline("alice"), "nothing waits")
	p = w.ring(session.PromptCall)
	require.True(t, w.PickUp("alice", false))
	require.Equal(t, session.LoginDeclined, w.state(p))
	p = w.ring(session.PromptMessage)
	code, ok := w.SMS("alice")
	require.True(t, ok)
	require.Equal(t, p.Code, code)
}

// Values of RFC 6238, appendix B (SHA-1, the last six digits).
func TestOneTimeCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for at, want := range map[int64]string{59: "287082", 1111111109: "081804", 1234567890: "005924", 2000000000: "279037"} {
		w.now = time.Unix(at, 0)
		code, until, err := w.OneTimeCode("alice")
		require.NoError(t, err)
		require.Equal(t, want, code)
		require.Equal(t, at/30*30+30, until.Unix())
	}
	_, _, err := w.OneTimeCode("bob")
	require.ErrorContains(t, err, "no authenticator app")
}

func TestPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	page := func(kv ...string) string {
		method, body := "GET", url.Values{}
		for i := 0; i < len(kv); i += 2 {
			method = "POST"
			body.Set(kv[i], kv[i+1])
		}
		r := httptest.NewRequest(method, "https://login.microsoftonline.com"+phones.Path, strings.NewReader(body.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		rec := httptest.NewRecorder()
		w.Web.ServeHTTP(rec, r)
		require.Equal(t, 200, rec.Code)
		require.Equal(t, "no-store, no-cache", rec.Header().Get("Cache-Control"))
		return rec.Body.String()
	}
	number, call, message := w.ring(session.PromptNumber), w.ring(session.PromptCall), w.ring(session.PromptMessage)
	text := page()
	for _, want := range []string{"alice@contoso.example", "Payroll", number.ID, call.ID, message.Code} {
		require.Contains(t, text, want)
	}
	require.NotContains(t, text, ">"+strconv.Itoa(number.Number)+"<", "the number is on the page of the sign-in")
	require.Less(t, strings.Index(text, message.Code), strings.Index(text, number.ID), "the newest first")
	require.Contains(t, page("prompt", call.ID, "answer", "approve"), "Approved.")
	require.Equal(t, session.LoginApproved, w.state(call))
	require.Contains(t, page("prompt", number.ID, "answer", "approve", "number", strconv.Itoa(number.Number+1)), "Declined.")
	require.Equal(t, session.LoginDeclined, w.state(number))
	require.Contains(t, page("prompt", number.ID, "answer", "approve", "number", strconv.Itoa(number.Number)), "That prompt is over.")
	number = w.ring(session.PromptNumber)
	require.Contains(t, page("prompt", number.ID, "answer", "approve", "number", strconv.Itoa(number.Number)), "Approved.")
	late := w.ring(session.PromptCall)
	w.now = w.now.Add(time.Minute)
	require.Contains(t, page("prompt", late.ID, "answer", "approve"), "That prompt is over.")
	require.NotContains(t, page(), late.ID)
}
