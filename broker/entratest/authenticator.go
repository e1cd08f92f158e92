package entratest

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// authenticatorPath is where the emulator plays the phones of its users. The
// real service has nothing there: a real phone is nobody's web page.
const authenticatorPath = "/emulator/authenticator"

// AuthenticatorURL is a page for an ordinary browser on this machine that
// plays the phones of all users: it shows the prompts that wait, takes the
// number of a number match, answers calls and shows text messages. A wrong
// number declines a prompt, and one that nobody answers is over after
// [TTL].Prompt. Under the real host names the page is
// https://login.microsoftonline.com/emulator/authenticator.
func (s *Server) AuthenticatorURL() (string, error) {
	p, err := s.plainServer()
	if err != nil {
		return "", err
	}
	return "http://" + p.addr + authenticatorPath, nil
}

// authenticator shows what waits, and takes an answer.
func (s *Server) authenticator(w http.ResponseWriter, r *web.Request) {
	p := pages.Page{Name: "authenticator", Title: "Authenticator of the emulator", Action: authenticatorPath,
		Nonce: s.pageNonce(), Config: map[string]any{}}
	if r.Method == http.MethodPost {
		p.Text = s.answerPrompt(r.Values.Get("prompt"), r.Values.Get("answer"), r.Values.Get("number"))
	}
	now := s.Now()
	list := s.keeper.Pending.Waiting(now)
	slices.SortFunc(list, func(a, b session.Prompt) int { return cmp.Compare(b.Seq, a.Seq) })
	for _, w := range list {
		u := s.dir.UserByID(w.User)
		if u == nil {
			continue
		}
		kind := map[session.PromptKind]string{session.PromptMessage: "message", session.PromptCall: "call"}[w.Kind]
		if w.Numbered() {
			kind = "number"
		}
		p.Prompts = append(p.Prompts, pages.Prompt{ID: w.ID, User: u.UPN, App: w.App, Kind: kind, Code: w.Code,
			Left: time.Duration(w.Expires*int64(time.Second) - now.Unix()*int64(time.Second)).String()})
	}
	p.Write(w, http.StatusOK)
}

// answerPrompt answers a prompt by hand and says what came of it.
func (s *Server) answerPrompt(id, answer, number string) string {
	p, now := s.keeper.Pending.Prompt(id), s.Now()
	if p == nil || !p.Waits(now) {
		return "That prompt is over."
	}
	approve := answer == "approve"
	if p.Numbered() && approve {
		n, err := strconv.Atoi(number)
		approve = err == nil && n == p.Number
	}
	if !s.keeper.Pending.Answer(id, approve, now) {
		return "That prompt is over."
	}
	if approve {
		return "Approved."
	}
	return "Declined."
}
