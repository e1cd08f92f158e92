package phones

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// Path is the page that simulates the phones of users. The real service has no such
// page.
const Path = "/emulator/authenticator"

// show shows the waiting prompts, and handles an answer.
func (s *Service) show(w http.ResponseWriter, r *web.Request) {
	p := pages.Page{Name: "authenticator", Title: "Authenticator of the emulator", Action: Path,
		Nonce: ids.Hex(s.Keeper.Rand.Bytes(16)), Config: map[string]any{}}
	if r.Method == http.MethodPost {
		p.Text = s.answer(r.Values.Get("prompt"), r.Values.Get("answer"), r.Values.Get("number"))
	}
	now := s.Keeper.Now()
	list := s.Keeper.Pending.Waiting(now)
	slices.SortFunc(list, func(a, b session.Prompt) int { return cmp.Compare(b.Seq, a.Seq) })
	for _, w := range list {
		u := s.Keeper.Directory.UserByID(w.User)
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

// answer answers a prompt by hand and returns a message about the result.
func (s *Service) answer(id, answer, number string) string {
	p, now := s.Keeper.Pending.Prompt(id), s.Keeper.Now()
	if p == nil || !p.Waits(now) {
		return "That prompt is over."
	}
	approve := answer == "approve"
	if p.Numbered() && approve {
		n, err := strconv.Atoi(number)
		approve = err == nil && n == p.Number
	}
	if !s.Keeper.Pending.Answer(id, approve, now) {
		return "That prompt is over."
	}
	if approve {
		return "Approved."
	}
	return "Declined."
}
