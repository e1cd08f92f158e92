package chromium

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/prtbroker/prtbroker/broker"
)

// A signIn follows one sign-in in a window until it is redirected.
type signIn struct {
	window   *window
	prompter *Prompter
	page     string
	prefix   string

	mu   sync.Mutex // guards main
	main string     // the session of the window's page; "" until it is there
}

// outcome is how the sign-in ended.
type outcome struct {
	redirected string
	err        error
}

// run controls the window. Events are handled concurrently: one that waits for
// cookies does not delay other pages.
func (s *signIn) run(ctx context.Context) (string, error) {
	found := make(chan outcome, 1)
	end := func(o outcome) {
		select {
		case found <- o:
		default: // the first one counts
		}
	}
	var handlers sync.WaitGroup
	defer handlers.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	handlers.Go(func() {
		if err := s.window.call(ctx, "", "Target.setAutoAttach", autoAttach{true, true, true}, nil); err != nil {
			end(outcome{err: err})
		}
	})
	for {
		select {
		case o := <-found:
			if errors.Is(o.err, errClosed) {
				return "", broker.ErrUserCanceled // the browser was quit during a command
			}
			return o.redirected, o.err
		case <-ctx.Done():
			return "", ctx.Err()
		case m, ok := <-s.window.events:
			if !ok {
				return "", broker.ErrUserCanceled // the browser was quit
			}
			handlers.Go(func() {
				if redirected, err := s.handle(ctx, m); redirected != "" || err != nil {
					end(outcome{redirected, err})
				}
			})
		}
	}
}

// Parameters of the protocol's commands and events, as far as they are used
// (chromedevtools.github.io/devtools-protocol, domains Target, Fetch and Page).
type (
	autoAttach struct {
		AutoAttach             bool `json:"autoAttach"`
		WaitForDebuggerOnStart bool `json:"waitForDebuggerOnStart"`
		Flatten                bool `json:"flatten"`
	}
	attached struct {
		Session string `json:"sessionId"`
		Target  struct {
			Type string `json:"type"`
		} `json:"targetInfo"`
	}
	detached struct {
		Session string `json:"sessionId"`
	}
	fetchEnable struct {
		Patterns []fetchPattern `json:"patterns"`
	}
	fetchPattern struct {
		URL   string `json:"urlPattern"`
		Type  string `json:"resourceType"`
		Stage string `json:"requestStage"`
	}
	paused struct {
		ID      string `json:"requestId"`
		Request struct {
			URL     string            `json:"url"`
			Headers map[string]string `json:"headers"`
		} `json:"request"`
		Status  int           `json:"responseStatusCode"`
		Headers []headerEntry `json:"responseHeaders"`
		Failed  string        `json:"responseErrorReason"`
	}
	headerEntry struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	continueRequest struct {
		ID      string        `json:"requestId"`
		Headers []headerEntry `json:"headers,omitempty"`
	}
	navigation struct {
		URL string `json:"url"`
	}
	source struct {
		Source string `json:"source"`
	}
	nothing struct{}
)

// handle handles an event, and returns the redirect if the event contains it.
func (s *signIn) handle(ctx context.Context, m message) (redirected string, err error) {
	switch m.Method {
	case "Target.attachedToTarget":
		var e attached
		if json.Unmarshal(m.Params, &e) == nil {
			return "", s.attach(ctx, e)
		}
	case "Target.detachedFromTarget":
		var e detached
		if json.Unmarshal(m.Params, &e) == nil && s.isMain(e.Session) {
			return "", broker.ErrUserCanceled // the window was closed
		}
	case "Page.frameRequestedNavigation", "Page.frameScheduledNavigation":
		var e navigation
		if json.Unmarshal(m.Params, &e) == nil {
			return s.match(e.URL), nil
		}
	case "Fetch.requestPaused":
		var e paused
		if json.Unmarshal(m.Params, &e) == nil {
			return s.request(ctx, m.Session, e)
		}
	}
	return "", nil
}

// attach prepares a page before it loads anything. The first one is the window;
// others are windows that the sign-in page opens.
func (s *signIn) attach(ctx context.Context, e attached) error {
	w := s.window
	if e.Target.Type != "page" {
		return w.call(ctx, e.Session, "Runtime.runIfWaitingForDebugger", nothing{}, nil)
	}
	type step struct {
		method string
		params any
	}
	steps := []step{
		{"Fetch.enable", fetchEnable{[]fetchPattern{{"*", "Document", "Request"}, {"*", "Document", "Response"}}}},
		{"Page.enable", nothing{}},
	}
	if s.prompter.script != "" {
		steps = append(steps, step{"Page.addScriptToEvaluateOnNewDocument", source{s.prompter.script}})
	}
	for _, step := range steps {
		if err := w.call(ctx, e.Session, step.method, step.params, nil); err != nil {
			return err
		}
	}
	if err := w.call(ctx, e.Session, "Runtime.runIfWaitingForDebugger", nothing{}, nil); err != nil {
		return err
	}
	if !s.claimMain(e.Session) {
		return nil
	}
	// The reply comes after the first response, which is paused until we handle
	// it. The event loop is free in the meantime, since each event has its own
	// goroutine.
	return w.call(ctx, e.Session, "Page.navigate", navigation{s.page}, nil)
}

func (s *signIn) claimMain(session string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.main != "" {
		return false
	}
	s.main = session
	return true
}

func (s *signIn) isMain(session string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.main == session
}

// request handles a paused document request: before it is sent, to add the
// device's cookies, and when its response is there, to find the redirect.
func (s *signIn) request(ctx context.Context, session string, e paused) (string, error) {
	c := continueRequest{ID: e.ID}
	if e.Status != 0 || e.Failed != "" {
		if redirected := s.match(location(e)); redirected != "" {
			return redirected, nil // it is not followed
		}
		return "", s.window.call(ctx, session, "Fetch.continueRequest", c, nil)
	}
	cookies, err := s.prompter.cookies(ctx, e.Request.URL)
	if err != nil {
		return "", err
	}
	c.Headers = headers(e.Request.Headers, cookies)
	return "", s.window.call(ctx, session, "Fetch.continueRequest", c, nil)
}

// location returns the address that a response redirects to, or "".
func location(e paused) string {
	if e.Status < 300 || e.Status > 399 {
		return ""
	}
	for _, h := range e.Headers {
		if !strings.EqualFold(h.Name, "Location") {
			continue
		}
		from, err := url.Parse(e.Request.URL)
		if err != nil {
			return h.Value
		}
		to, err := from.Parse(h.Value)
		if err != nil || to.Scheme == "" || to.IsAbs() && strings.Contains(h.Value, ":") && !strings.HasPrefix(h.Value, "/") {
			return h.Value // as it was sent
		}
		return to.String()
	}
	return ""
}

// match returns address when it begins with the prefix of the redirect, whose
// scheme and host a browser may write in another case.
func (s *signIn) match(address string) string {
	if len(address) < len(s.prefix) || !strings.EqualFold(address[:len(s.prefix)], s.prefix) {
		return ""
	}
	return s.prefix + address[len(s.prefix):]
}

// headers returns the headers for a document request. Those of an earlier hop
// that authenticate the device are dropped.
func headers(have map[string]string, cookies []*http.Cookie) (all []headerEntry) {
	for name, value := range have {
		if !deviceHeader(name) {
			all = append(all, headerEntry{name, value})
		}
	}
	for _, c := range cookies {
		all = append(all, headerEntry{c.Name, c.Value})
	}
	return all
}

// deviceHeader reports whether a header authenticates the device (MS-OAPXBC
// 2.2.1.1 and 3.2.5.2.1).
func deviceHeader(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, "x-ms-refreshtokencredential") || strings.HasPrefix(name, "x-ms-devicecredential")
}
