// Package phones simulates the phones of users: authenticator apps that show codes and
// accept numbers, text messages, and calls. Tests answer them through its methods, and
// people on a page.
package phones

import (
	"errors"
	"fmt"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/totp"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// Service simulates the phones of all users.
type Service struct {
	Keeper *session.Keeper
	Web    *web.Router
}

// Routes adds the page to the router.
func (s *Service) Routes() {
	s.Web.Handle(web.OnLogin, "GET POST", Path, web.EndpointLogin, s.show)
}

// TypeNumber types a number into the authenticator app of a user and reports
// whether a prompt was waiting; a wrong number declines it.
func (s *Service) TypeNumber(username string, number int) bool {
	u := s.user(username)
	return u != nil && s.Keeper.Pending.AnswerNumber(u.ID, number, s.Keeper.Now())
}

// Decline declines the newest request in the authenticator app of a user. It reports
// whether one was waiting.
func (s *Service) Decline(username string) bool { return s.TypeNumber(username, noNumber) }

// noNumber is a number that no request has.
const noNumber = -1

// PickUp answers the phone of a user, which rings while a sign-in waits for a call,
// and approves or declines. It reports whether the phone rang.
func (s *Service) PickUp(username string, approve bool) bool {
	u := s.user(username)
	if u == nil {
		return false
	}
	p := s.Keeper.Pending.Newest(u.ID, session.PromptCall, s.Keeper.Now())
	return p != nil && s.Keeper.Pending.Answer(p.ID, approve, s.Keeper.Now())
}

// SMS returns the code in the newest text message to a user, while a sign-in waits
// for it.
func (s *Service) SMS(username string) (code string, ok bool) {
	u := s.user(username)
	if u == nil {
		return "", false
	}
	p := s.Keeper.Pending.Newest(u.ID, session.PromptMessage, s.Keeper.Now())
	if p == nil {
		return "", false
	}
	return p.Code, true
}

// OneTimeCode returns the code that the authenticator app of a user shows now, and the
// time until which it shows it.
func (s *Service) OneTimeCode(username string) (code string, until time.Time, err error) {
	u := s.user(username)
	if u == nil {
		return "", time.Time{}, fmt.Errorf("%w: %s", directory.ErrNoUser, username)
	}
	if u.TOTP == nil {
		return "", time.Time{}, errors.New("entratest: the user has no authenticator app with codes")
	}
	step := uint64(s.Keeper.Now().Unix()) / totp.Step
	return totp.Code(u.TOTP, step), time.Unix(int64(step+1)*totp.Step, 0).UTC(), nil
}

func (s *Service) user(name string) *directory.User {
	return s.Keeper.Directory.User(s.Keeper.Directory.Qualify(name))
}
