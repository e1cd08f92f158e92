package entratest

import (
	"fmt"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/phones"
)

// BrowserURL makes an authorization URL usable in an ordinary browser on this
// machine: it returns a loopback URL that shows the same sign-in pages, and a
// channel that receives the URL to which the sign-in was redirected. The
// browser then shows a page saying that the window may be closed. Federated users
// cannot sign in this way.
func (s *Server) BrowserURL(authorizeURL string) (local string, redirected <-chan string, err error) {
	local, redirected, err = s.window.Lead(authorizeURL)
	if err != nil {
		return "", nil, fmt.Errorf("entratest: %w", err)
	}
	return local, redirected, nil
}

// AuthenticatorURL returns the URL of a page, for an ordinary browser on this
// machine, that simulates the phones of all users: it shows pending prompts,
// accepts the number of a number match, answers calls and shows text messages. A
// wrong number declines a prompt, and an unanswered prompt expires after
// [TTL].Prompt. Under the real host names the page is
// https://login.microsoftonline.com/emulator/authenticator.
func (s *Server) AuthenticatorURL() (string, error) {
	addr, err := s.window.Open()
	if err != nil {
		return "", fmt.Errorf("entratest: %w", err)
	}
	return "http://" + addr + phones.Path, nil
}
