package entratest

import "github.com/prtbroker/prtbroker/broker/entratest/internal/session"

// AnswerNumberMatch types a number into the user's authenticator app. It
// reports whether a prompt was waiting; a wrong number declines it.
func (s *Server) AnswerNumberMatch(username string, number int) bool {
	u := s.dir.User(s.dir.Qualify(username))
	return u != nil && s.keeper.Pending.AnswerNumber(u.ID, number, s.Now())
}

// AnswerCall answers the user's phone, which rings while a sign-in waits for a
// call, and approves or declines. It reports whether the phone rang.
func (s *Server) AnswerCall(username string, approve bool) bool {
	u := s.dir.User(s.dir.Qualify(username))
	if u == nil {
		return false
	}
	p := s.keeper.Pending.Newest(u.ID, session.PromptCall, s.Now())
	return p != nil && s.keeper.Pending.Answer(p.ID, approve, s.Now())
}

// SMSCode is the code in the newest text message to the user, while a sign-in
// waits for it.
func (s *Server) SMSCode(username string) (code string, ok bool) {
	u := s.dir.User(s.dir.Qualify(username))
	if u == nil {
		return "", false
	}
	p := s.keeper.Pending.Newest(u.ID, session.PromptMessage, s.Now())
	if p == nil {
		return "", false
	}
	return p.Code, true
}
