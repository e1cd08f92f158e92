package webflow

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/webflow/internal/page"
)

// openSecondFactor begins the second factor that is the user's default, or else
// the first one that this package can drive.
func (f *Flow) openSecondFactor(ctx context.Context, p *page.Page) error {
	if code := p.Code(); code != 0 {
		err := broker.ErrorOf(op, code)
		if code == codeDenied {
			return failed("the second factor was not accepted", ErrDenied, err)
		}
		return err
	}
	proofs, err := p.Proofs()
	if err != nil {
		return lacking(err)
	}
	f.at.Proofs, f.at.Back = nil, view{}
	f.at.PollEvery, f.at.MaxPolls = time.Duration(p.Int("iPollingInterval"))*time.Millisecond, p.Int("iMaxPollAttempts")
	best := -1
	for _, proof := range proofs {
		if _, known := factors[proof.Method]; !known {
			continue
		}
		f.at.Proofs = append(f.at.Proofs, proof)
		if best < 0 || proof.Default && !f.at.Proofs[best].Default {
			best = len(f.at.Proofs) - 1
		}
	}
	if best < 0 {
		e := failed("none of the user's second factors can be used here: "+deviceCode, ErrNoMethod, broker.ErrInteractionRequired)
		e.Page = p.ID
		return e
	}
	return f.beginFactor(ctx, f.at.Proofs[best].Method)
}

// A factorState is the answer of BeginAuth and EndAuth.
type factorState struct {
	Success, Retry bool
	ResultValue    string
	ErrCode        int
	Ctx, FlowToken string
	SessionID      string `json:"SessionId"`
	Entropy        int
}

// take stores the latest values that the next request has to send.
func (f *Flow) take(s *factorState) {
	if s.Ctx != "" {
		f.at.View.Ctx = s.Ctx
	}
	if s.FlowToken != "" {
		f.at.View.Token = s.FlowToken
	}
	if s.SessionID != "" {
		f.at.View.SessionID = s.SessionID
	}
}

// beginFactor starts a second factor, which may ring the phone.
func (f *Flow) beginFactor(ctx context.Context, id string) error {
	if id == MethodKey {
		return f.beginSecondKey(ctx)
	}
	var s factorState
	in := map[string]string{"AuthMethodId": id, "Method": "BeginAuth", "ctx": f.at.View.Ctx, "flowToken": f.at.View.Token}
	if err := f.ask(ctx, "urlBeginAuth", f.at.View.BeginAuth, in, &s); err != nil {
		return err
	}
	f.take(&s)
	if !s.Success {
		return factorRefused("the service did not start the second factor", &s)
	}
	if _, err := f.endpoint("urlEndAuth", f.at.View.EndAuth); err != nil {
		return err // now, not after the user has answered
	}
	f.askFactor(id, s.Entropy)
	return nil
}

// askFactor makes the challenge of a second factor.
func (f *Flow) askFactor(id string, number int) {
	m := factors[id]
	c := Challenge{Kind: m.kind, Method: id, Message: m.message}
	if m.kind == Push && number != 0 {
		c.Kind, c.Number, c.Message = Number, number, numberMessage(number)
	}
	if c.Kind.Polls() {
		c.PollEvery, c.MaxPolls = f.at.PollEvery, f.at.MaxPolls
		if c.PollEvery <= 0 {
			c.PollEvery = defaultPollEvery
		}
		if c.MaxPolls <= 0 {
			c.MaxPolls = defaultPolls
		}
	}
	for _, p := range f.at.Proofs {
		if p.Method != id {
			c.Methods = append(c.Methods, Method{p.Method, labelOf(p)})
		}
	}
	f.at.Polls, f.at.Challenge = 0, c
}

// labelOf returns our label for a method, with the masked number that it uses.
func labelOf(p page.Proof) string {
	label := factors[p.Method].label
	if to := masked(p.Display); to != "" {
		label += " (" + to + ")"
	}
	return label
}

// masked returns s if it is a telephone number as the service masks it, and ""
// for anything else.
func masked(s string) string {
	if len(s) > 32 || strings.Trim(s, "+*Xx0123456789 -()") != "" {
		return ""
	}
	return s
}

// factorRefused returns the error for a failed BeginAuth or EndAuth.
func factorRefused(detail string, s *factorState) error {
	switch v := strings.ToLower(s.ResultValue); {
	case strings.Contains(v, "noresponse"), strings.Contains(v, "noanswer"), strings.Contains(v, "timeout"), strings.Contains(v, "expired"):
		return failed("nobody answered the request on the phone", ErrTimeout)
	}
	if s.ErrCode != 0 && s.ErrCode != codeDenied {
		return failed(detail, broker.ErrorOf(op, s.ErrCode))
	}
	return failed(detail, ErrDenied, broker.ErrorOf(op, codeDenied))
}

// pollFactor asks once whether the user has answered on the phone.
func (f *Flow) pollFactor(ctx context.Context) error {
	u, err := f.endpoint("urlEndAuth", f.at.View.EndAuth)
	if err != nil {
		return err
	}
	q := u.Query()
	q.Set("authMethodId", f.at.Challenge.Method)
	q.Set("pollCount", strconv.Itoa(f.at.Polls))
	u.RawQuery = q.Encode()
	header := http.Header{"Client-Request-Id": {f.at.View.Correlation}}
	header.Set("x-ms-sessionId", f.at.View.SessionID)
	header.Set("x-ms-flowToken", f.at.View.Token)
	header.Set("x-ms-ctx", f.at.View.Ctx)
	var s factorState
	if err := f.web.call(ctx, http.MethodGet, u, header, nil, &s); err != nil {
		return err
	}
	f.take(&s)
	switch {
	case s.Success:
		return f.endFactor(ctx)
	case s.Retry:
		return nil
	}
	return factorRefused("the request on the phone was declined, or not answered in time", &s)
}

// sendCode sends a code, once. A wrong one may be followed by another.
func (f *Flow) sendCode(ctx context.Context, code string) error {
	var s factorState
	in := map[string]string{
		"AuthMethodId": f.at.Challenge.Method, "Method": "EndAuth", "AdditionalAuthData": code,
		"SessionId": f.at.View.SessionID, "FlowToken": f.at.View.Token, "Ctx": f.at.View.Ctx,
	}
	if err := f.ask(ctx, "urlEndAuth", f.at.View.EndAuth, in, &s); err != nil {
		return err
	}
	f.take(&s)
	if s.Success {
		return f.endFactor(ctx)
	}
	if err := broker.ErrorOf(op, s.ErrCode); s.ErrCode != 0 && s.ErrCode != codeDenied {
		return failed("the code was not accepted", err)
	}
	return wrong("the code is wrong", s.ErrCode)
}

// endFactor tells the page that the second factor was given.
func (f *Flow) endFactor(ctx context.Context) error {
	method := f.at.Challenge.Method
	if method == "ConsolidatedTelephony" {
		method = "OneWaySMS"
	}
	f.at.Proofs = nil
	return f.send(ctx, url.Values{
		"request": {f.at.View.Ctx}, "mfaAuthMethod": {method}, "login": {f.at.User}, "flowToken": {f.at.View.Token},
		"canary": {f.at.View.Canary}, "hpgrequestid": {f.at.View.SessionID}, "client-request-id": {f.at.View.Correlation},
	})
}
