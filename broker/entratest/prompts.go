package entratest

import "time"

// AnswerNumberMatch enters a number in the user's authenticator app. It
// reports whether a prompt was waiting; a wrong number declines it.
func (s *Server) AnswerNumberMatch(username string, number int) bool {
	return s.world().phones.TypeNumber(username, number)
}

// DeclineNumberMatch declines the newest request in the user's authenticator app.
// It reports whether one was waiting.
func (s *Server) DeclineNumberMatch(username string) bool { return s.world().phones.Decline(username) }

// AnswerCall answers the user's phone, which rings while a sign-in waits for a
// call, and approves or declines. It reports whether the phone rang.
func (s *Server) AnswerCall(username string, approve bool) bool {
	return s.world().phones.PickUp(username, approve)
}

// SMSCode returns the code in the newest text message to the user, while a sign-in
// waits for it.
func (s *Server) SMSCode(username string) (code string, ok bool) {
	return s.world().phones.SMS(username)
}

// OneTimeCode returns the code that the user's authenticator app shows now, and the
// time until which it shows it.
func (s *Server) OneTimeCode(username string) (code string, until time.Time, err error) {
	return s.world().phones.OneTimeCode(username)
}
