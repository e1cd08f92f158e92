package session

import (
	"crypto/subtle"
	"fmt"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
)

// PromptKind is how a prompt reaches the user.
type PromptKind int

const (
	PromptNumber  PromptKind = iota // a number to type into the authenticator app
	PromptSignIn                    // the same, in place of a password
	PromptMessage                   // a text message with a code
	PromptCall                      // a call to answer
)

// Prompt is a prompt on the user's phone.
type Prompt struct {
	ID, User string // object id
	App      string // name of the app that the user signs in to; "": unknown
	Kind     PromptKind
	Number   int    // shown on the page
	Code     string // in the message
	Expires  int64
	Seq      int
	tries    int // wrong codes so far
	State    LoginState
}

// messageTries is how many wrong codes void a text message.
const messageTries = 5

// Waits reports whether the prompt is neither answered nor expired.
func (p *Prompt) Waits(now time.Time) bool {
	return p.State == LoginPending && now.Unix() < p.Expires
}

// Numbered reports whether the prompt shows a number.
func (p *Prompt) Numbered() bool { return p.Kind == PromptNumber || p.Kind == PromptSignIn }

// NewPrompt makes the user's phone show a number, ring, or receive a message.
func (k *Keeper) NewPrompt(u *directory.User, kind PromptKind, app string) *Prompt {
	now := k.Now()
	p := &Prompt{ID: ids.Hex(k.Rand.Bytes(12)), User: u.ID, App: app, Kind: kind, Expires: now.Add(k.TTL.Prompt).Unix()}
	switch kind {
	case PromptMessage:
		p.Code = fmt.Sprintf("%06d", k.Rand.Number(1_000_000))
		p.Expires = now.Add(k.TTL.Message).Unix()
		k.Logf("entratest: %s gets a text message with the code %s", u.UPN, p.Code)
	case PromptCall:
		k.Logf("entratest: the phone of %s rings", u.UPN)
	default:
		p.Number = 10 + k.Rand.Number(90)
		k.Logf("entratest: %s is asked for the number %d in the authenticator app", u.UPN, p.Number)
	}
	k.Pending.addPrompt(p, now)
	out := *p
	return &out
}

func (f *Pending) addPrompt(p *Prompt, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sweep(now)
	p.Seq = f.inserts
	f.prompts[p.ID] = p
}

// Prompt returns a copy of the prompt with the id, or nil if there is no such prompt.
func (f *Pending) Prompt(id string) *Prompt {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.prompts[id]
	if p == nil {
		return nil
	}
	out := *p
	return &out
}

// Waiting returns copies of the prompts that wait.
func (f *Pending) Waiting(now time.Time) []Prompt {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Prompt
	for _, p := range f.prompts {
		if p.Waits(now) {
			out = append(out, *p)
		}
	}
	return out
}

// Newest returns the latest prompt of a kind that waits for a user.
func (f *Pending) Newest(user string, kind PromptKind, now time.Time) *Prompt {
	var out *Prompt
	for _, p := range f.Waiting(now) {
		if p.User == user && p.Kind == kind && (out == nil || p.Seq > out.Seq) {
			out = &p
		}
	}
	return out
}

// PromptWaits reports whether the user's authenticator app shows a prompt.
func (f *Pending) PromptWaits(user string, now time.Time) bool {
	return f.Newest(user, PromptNumber, now) != nil || f.Newest(user, PromptSignIn, now) != nil
}

// AnswerNumber approves the user's waiting prompt with the number. If no prompt has
// it, AnswerNumber declines the newest one, as the app does.
func (f *Pending) AnswerNumber(user string, number int, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	var newest *Prompt
	for _, p := range f.prompts {
		if p.User != user || !p.Numbered() || !p.Waits(now) {
			continue
		}
		if p.Number == number {
			p.State = LoginApproved
			return true
		}
		if newest == nil || p.Seq > newest.Seq {
			newest = p
		}
	}
	if newest == nil {
		return false
	}
	newest.State = LoginDeclined
	return true
}

// Answer approves or declines a waiting prompt.
func (f *Pending) Answer(id string, approve bool, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.prompts[id]
	if p == nil || !p.Waits(now) {
		return false
	}
	p.State = LoginDeclined
	if approve {
		p.State = LoginApproved
	}
	return true
}

// takeMessage enters the code of a text message. The right code approves the prompt.
func (f *Pending) takeMessage(id, code string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.prompts[id]
	if p == nil || p.Kind != PromptMessage || !p.Waits(now) {
		return
	}
	if subtle.ConstantTimeCompare([]byte(p.Code), []byte(strings.Join(strings.Fields(code), ""))) == 1 {
		p.State = LoginApproved
		return
	}
	if p.tries++; p.tries >= messageTries {
		p.State = LoginDeclined
	}
}

// UsePrompt returns the answer to a prompt, once.
func (f *Pending) UsePrompt(id string, now time.Time) LoginState {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.prompts[id]
	if p == nil {
		return LoginUsed
	}
	state := p.State
	switch {
	case state == LoginPending && !p.Waits(now):
		p.State = LoginExpired
		return LoginExpired
	case state != LoginPending:
		p.State = LoginUsed
	}
	return state
}
