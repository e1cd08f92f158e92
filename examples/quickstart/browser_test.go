package main

import (
	"bytes"
	"context"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	prompt  = regexp.MustCompile(`Open (http://\S+)\n.*password ("(?:[^"]+)"), code (\d{6})`)
	form    = regexp.MustCompile(`<form[^>]*action="([^"]*)"`)
	input   = regexp.MustCompile(`<input[^>]*>`)
	naming  = regexp.MustCompile(`name="([^"]*)"`)
	valuing = regexp.MustCompile(`value="([^"]*)"`)
)

// With -browser the user signs in on the emulator's own pages; this one is an
// ordinary HTTP client that fills in the forms as they come.
func TestBrowser(t *testing.T) {
	screen := &screen{t: t}
	var errs bytes.Buffer
	code := run(context.Background(), []string{"-tpm", "software", "-browser"}, screen, &errs)
	screen.users.Wait()
	require.Zero(t, code, errs.String())
	require.Equal(t, 2, screen.asked)
	require.Regexp(t, `^This run waits twice, in steps 4 and 7, until you have signed in`, screen.text.String())
	require.Contains(t, screen.text.String(), "Waiting for you (2 of 2)")
	tellsTheStory(t, prompt.ReplaceAllString(screen.text.String(), "")) // the prompt alone shows the password
}

// A screen signs in whenever it shows a prompt.
type screen struct {
	t     *testing.T
	text  bytes.Buffer
	asked int
	users sync.WaitGroup
}

func (s *screen) Write(p []byte) (int, error) {
	if m := prompt.FindSubmatch(p); m != nil {
		s.asked++
		password := string(bytes.Trim(m[2], `"`))
		s.users.Go(func() { fillIn(s.t, string(m[1]), password, string(m[3])) })
	}
	return s.text.Write(p)
}

func fillIn(t *testing.T, page, password, code string) {
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := &http.Client{Jar: jar}
	resp, err := client.Get(page)
	for range 5 {
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		action := form.FindSubmatch(body)
		if action == nil {
			require.Contains(t, string(body), "You have signed in")
			return
		}
		target, err := resp.Request.URL.Parse(html.UnescapeString(string(action[1])))
		require.NoError(t, err)
		resp, err = client.PostForm(target.String(), fields(body, password, code))
		require.NoError(t, err)
	}
	require.Fail(t, "the sign-in does not end")
}

func fields(body []byte, password, code string) url.Values {
	v := url.Values{}
	for _, in := range input.FindAll(body, -1) {
		name := naming.FindSubmatch(in)
		if name == nil {
			continue
		}
		var value string
		if m := valuing.FindSubmatch(in); m != nil {
			value = html.UnescapeString(string(m[1]))
		}
		switch string(name[1]) {
		case "login":
			value = username
		case "passwd":
			value = password
		case "otc":
			value = code
		}
		v.Set(string(name[1]), value)
	}
	return v
}
