package entratest

import (
	"crypto/subtle"
	"fmt"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
)

// promptKind is how a prompt reaches the user.
type promptKind int

const (
	promptNumber  promptKind = iota // a number to type into the authenticator app
	promptSignIn                    // the same, in place of a password
	promptMessage                   // a text message with a code
	promptCall                      // a call to answer
)

// prompt is what waits for the user's phone.
type prompt struct {
	id, user string // object id
	app      string // name of what the user signs in to; "": not known
	kind     promptKind
	number   int    // that the page shows
	code     string // in the message
	expires  int64
	seq      int
	tries    int // wrong codes so far
	state    loginState
}

// messageTries is how many wrong codes void a text message.
const messageTries = 5

func (p *prompt) waits(now time.Time) bool {
	return p.state == loginPending && now.Unix() < p.expires
}

func (p *prompt) numbered() bool { return p.kind == promptNumber || p.kind == promptSignIn }

// newPrompt makes the user's phone show a number, ring, or receive a message.
func (s *Server) newPrompt(u *directory.User, kind promptKind, app string) *prompt {
	now := s.Now()
	p := &prompt{id: ids.Hex(s.rand.Bytes(12)), user: u.ID, app: app, kind: kind, expires: now.Add(s.opts.TTL.Prompt).Unix()}
	switch kind {
	case promptMessage:
		p.code = fmt.Sprintf("%06d", s.rand.Number(1_000_000))
		p.expires = now.Add(s.opts.TTL.Message).Unix()
		s.opts.Logf("entratest: %s gets a text message with the code %s", u.UPN, p.code)
	case promptCall:
		s.opts.Logf("entratest: the phone of %s rings", u.UPN)
	default:
		p.number = 10 + s.rand.Number(90)
		s.opts.Logf("entratest: %s is asked for the number %d in the authenticator app", u.UPN, p.number)
	}
	s.flow.addPrompt(p, now)
	out := *p
	return &out
}

// AnswerNumberMatch types a number into the user's authenticator app. It
// reports whether a prompt was waiting; a wrong number declines it.
func (s *Server) AnswerNumberMatch(username string, number int) bool {
	u := s.dir.User(s.dir.Qualify(username))
	return u != nil && s.flow.answerNumber(u.ID, number, s.Now())
}

// AnswerCall answers the user's phone, which rings while a sign-in waits for a
// call, and approves or declines. It reports whether the phone rang.
func (s *Server) AnswerCall(username string, approve bool) bool {
	u := s.dir.User(s.dir.Qualify(username))
	if u == nil {
		return false
	}
	p := s.flow.newest(u.ID, promptCall, s.Now())
	return p != nil && s.flow.answer(p.id, approve, s.Now())
}

// SMSCode is the code in the newest text message to the user, while a sign-in
// waits for it.
func (s *Server) SMSCode(username string) (code string, ok bool) {
	u := s.dir.User(s.dir.Qualify(username))
	if u == nil {
		return "", false
	}
	p := s.flow.newest(u.ID, promptMessage, s.Now())
	if p == nil {
		return "", false
	}
	return p.code, true
}

func (f *flowTable) addPrompt(p *prompt, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sweep(now)
	p.seq = f.inserts
	f.prompts[p.id] = p
}

// prompt returns a copy of a prompt; nil: there is none of this id.
func (f *flowTable) prompt(id string) *prompt {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.prompts[id]
	if p == nil {
		return nil
	}
	out := *p
	return &out
}

// waiting returns copies of the prompts that wait.
func (f *flowTable) waiting(now time.Time) []prompt {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []prompt
	for _, p := range f.prompts {
		if p.waits(now) {
			out = append(out, *p)
		}
	}
	return out
}

// newest returns the latest prompt of a kind that waits for a user.
func (f *flowTable) newest(user string, kind promptKind, now time.Time) *prompt {
	var out *prompt
	for _, p := range f.waiting(now) {
		if p.user == user && p.kind == kind && (out == nil || p.seq > out.seq) {
			out = &p
		}
	}
	return out
}

// promptWaits reports whether the user's authenticator app shows a prompt.
func (f *flowTable) promptWaits(user string, now time.Time) bool {
	return f.newest(user, promptNumber, now) != nil || f.newest(user, promptSignIn, now) != nil
}

// answerNumber approves the waiting prompt of a user that shows the number. A
// number that none shows declines the newest, as the app does.
func (f *flowTable) answerNumber(user string, number int, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	var newest *prompt
	for _, p := range f.prompts {
		if p.user != user || !p.numbered() || !p.waits(now) {
			continue
		}
		if p.number == number {
			p.state = loginApproved
			return true
		}
		if newest == nil || p.seq > newest.seq {
			newest = p
		}
	}
	if newest == nil {
		return false
	}
	newest.state = loginDeclined
	return true
}

// answer approves or declines a waiting prompt.
func (f *flowTable) answer(id string, approve bool, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.prompts[id]
	if p == nil || !p.waits(now) {
		return false
	}
	p.state = loginDeclined
	if approve {
		p.state = loginApproved
	}
	return true
}

// takeMessage types the code of a text message. A right one approves it.
func (f *flowTable) takeMessage(id, code string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.prompts[id]
	if p == nil || p.kind != promptMessage || !p.waits(now) {
		return
	}
	if subtle.ConstantTimeCompare([]byte(p.code), []byte(strings.Join(strings.Fields(code), ""))) == 1 {
		p.state = loginApproved
		return
	}
	if p.tries++; p.tries >= messageTries {
		p.state = loginDeclined
	}
}

// usePrompt takes the answer of a prompt, once.
func (f *flowTable) usePrompt(id string, now time.Time) loginState {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.prompts[id]
	if p == nil {
		return loginUsed
	}
	state := p.state
	switch {
	case state == loginPending && !p.waits(now):
		p.state = loginExpired
		return loginExpired
	case state != loginPending:
		p.state = loginUsed
	}
	return state
}
