package entratest

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
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
func (s *Server) authenticator(w http.ResponseWriter, r *request) {
	p := pages.Page{Name: "authenticator", Title: "Authenticator of the emulator", Action: authenticatorPath,
		Nonce: s.pageNonce(), Config: map[string]any{}}
	if r.Method == http.MethodPost {
		p.Text = s.answerPrompt(r.form.Get("prompt"), r.form.Get("answer"), r.form.Get("number"))
	}
	now := s.Now()
	list := s.flow.waiting(now)
	slices.SortFunc(list, func(a, b prompt) int { return cmp.Compare(b.seq, a.seq) })
	for _, w := range list {
		u := s.dir.UserByID(w.user)
		if u == nil {
			continue
		}
		kind := map[promptKind]string{promptMessage: "message", promptCall: "call"}[w.kind]
		if w.numbered() {
			kind = "number"
		}
		p.Prompts = append(p.Prompts, pages.Prompt{ID: w.id, User: u.UPN, App: w.app, Kind: kind, Code: w.code,
			Left: time.Duration(w.expires*int64(time.Second) - now.Unix()*int64(time.Second)).String()})
	}
	p.Write(w, http.StatusOK)
}

// answerPrompt answers a prompt by hand and says what came of it.
func (s *Server) answerPrompt(id, answer, number string) string {
	p, now := s.flow.prompt(id), s.Now()
	if p == nil || !p.waits(now) {
		return "That prompt is over."
	}
	approve := answer == "approve"
	if p.numbered() && approve {
		n, err := strconv.Atoi(number)
		approve = err == nil && n == p.number
	}
	if !s.flow.answer(id, approve, now) {
		return "That prompt is over."
	}
	if approve {
		return "Approved."
	}
	return "Declined."
}
