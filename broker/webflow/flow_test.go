package webflow_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/webflow"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

// A password and a code leave the process once, whatever page answers.
func TestCredentialsAreSentOnce(t *testing.T) {
	t.Parallel()
	probe, sends := newWorld(t, nil), 0
	for _, r := range rows {
		o := probe.options(r.user)
		if r.options != nil {
			r.options(probe, &o)
		}
		if r.before != nil || r.tenant != nil || o.Password == "" { // the user types it
			continue
		}
		sends++
		want := broker.ErrBadCredential
		if r.code == 50034 {
			want = broker.ErrUserNotFound
		}
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			o := w.options(r.user)
			if r.options != nil {
				r.options(w, &o)
			}
			o.Password = "canary-of-a-password"
			f, _, err := webflow.Begin(t.Context(), o)
			if f != nil {
				f.Close()
			}
			require.ErrorIs(t, err, want)
			require.NotContains(t, err.Error(), "canary")
			require.Equal(t, 1, w.web.sent("canary-of-a-password"))
		})
	}
	require.Greater(t, sends, 10)
}

// TestEachFieldIsNamed takes from each page what it cannot do without.
func TestEachFieldIsNamed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		user, page, field string
		password          string
		tenant            func(*entratest.Options)
		before            func(*testing.T, *world)
	}{
		{alice, "ConvergedSignIn", "urlPost", secret, nil, nil},
		{alice, "ConvergedSignIn", "urlGetCredentialType", secret, nil, nil},
		{alice, "ConvergedTFA", "arrUserProofs", secret, nil, nil},
		{alice, "ConvergedTFA", "urlBeginAuth", secret, nil, nil},
		{alice, "ConvergedTFA", "urlEndAuth", secret, nil, nil},
		{kim, "ConvergedTFA", "urlFidoLogin", secret, nil, nil},
		{kim, "ConvergedFido", "sFidoChallenge", secret, nil, nil},
		{pia, "ConvergedChangePassword", "urlAsyncSsprBegin", secret, nil, expires("pia")},
		{pia, "ConvergedChangePassword", "urlAsyncSsprPoll", secret, nil, expires("pia")},
	} {
		t.Run(tt.page+" without "+tt.field, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tt.tenant)
			if tt.before != nil {
				tt.before(t, w)
			}
			w.web.edit(setConfig(tt.page, tt.field, ""))
			_, _, err := webflow.Begin(t.Context(), w.options(tt.user))
			var e *webflow.Error
			require.ErrorAs(t, err, &e)
			require.ErrorIs(t, err, webflow.ErrPage)
			require.ErrorIs(t, err, errors.ErrUnsupported)
			require.Equal(t, tt.page, e.Page)
			require.Equal(t, tt.field, e.Missing)
			require.EqualError(t, err, fmt.Sprintf("webflow: page %s lacks %s: sign in by device code", tt.page, tt.field))
		})
	}
}

// replies is a service that answers every request the same.
func replies(status int, header http.Header, body string) transport {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) Do(r *http.Request) (*http.Response, error) { return t(r) }

// What is on a page that nobody knows is in no error.
func TestStrangePages(t *testing.T) {
	t.Parallel()
	const canary = "canary-in-the-page"
	to := func(url string) http.Header { return http.Header{"Location": {url}} }
	for _, tt := range []struct {
		name string
		web  transport
		is   error
		text string
	}{
		{"unknown id", replies(200, nil, `<html><body>`+canary+`<script>$Config={"pgid":"ConvergedNews","x":"`+canary+`"};</script>`), webflow.ErrPage, "page ConvergedNews is not known: sign in by device code"},
		{"id that is none", replies(200, nil, `<script>$Config={"pgid":"<b>`+canary+`</b>"};</script>`), webflow.ErrPage, "page without an id"},
		{"no page at all", replies(200, nil, canary), webflow.ErrPage, "page without an id"},
		{"a refusal", replies(403, nil, canary), webflow.ErrPage, "HTTP 403"},
		{"a failure", replies(503, nil, canary), broker.ErrTransient, "HTTP 503"},
		{"asked too often", replies(429, nil, canary), broker.ErrThrottled, "is throttling"},
		{"an error page", replies(200, nil, `<script>$Config={"pgid":"ConvergedError","sErrorCode":"53003","strServiceExceptionMessage":"AADSTS53003: `+canary+`"};</script>`), broker.ErrBlocked, "AADSTS53003"},
		{"a redirect to another host", replies(302, to("https://evil.example/"+canary), ""), webflow.ErrPage, `"evil.example", which is not a sign-in host`},
		{"a redirect to a host that begins alike", replies(302, to("https://login.microsoftonline.com.evil.example/"), ""), webflow.ErrPage, "not a sign-in host"},
		{"a redirect to the terms of use", replies(302, to("https://tokenprovider.termsofuse.identitygovernance.azure.com/"+canary), ""), webflow.ErrTerms, "accept terms of use"},
		{"a redirect to http", replies(302, to("http://login.microsoftonline.com/"), ""), webflow.ErrPage, "not https"},
		{"a redirect to a file", replies(302, to("file:///etc/passwd"), ""), webflow.ErrPage, "not https"},
		{"a redirect with a name and a password", replies(302, to("https://login.microsoftonline.com@evil.example/"), ""), webflow.ErrPage, "not a sign-in host"},
		{"a redirect that begins like the redirect URI", replies(302, to("ms-appx-web://Microsoft.AAD.BrokerPlugin/DRSevil?code=1"), ""), webflow.ErrPage, "not https"},
		{"the answer to another request", replies(302, to("ms-appx-web://Microsoft.AAD.BrokerPlugin/DRS?code="+canary+"&state=other"), ""), nil, "another request"},
		{"redirects without an end", replies(302, to("https://login.microsoftonline.com/again"), ""), webflow.ErrPage, "20 redirects"},
		{"pages that post themselves without an end", replies(200, nil, `<form method="post" action="/again"><input type="submit"></form>`), webflow.ErrPage, "redirect in a loop"},
		{"a form to another host", replies(200, nil, `<form method="post" action="https://evil.example/"><input name="a" value="`+canary+`"><input type="submit"></form>`), webflow.ErrPage, "not a sign-in host"},
		{"a script to another host", replies(200, nil, `<script>document.location.replace("https:\/\/evil.example\/`+canary+`");</script>`), webflow.ErrPage, "not a sign-in host"},
		{"a password form on a sign-in host", replies(200, nil, `<form method="post"><input type="password" name="p"></form>`), webflow.ErrPage, "page without an id"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := webflow.Begin(t.Context(), webflow.Options{Tenant: tenant, Username: alice, Password: canary, Transport: tt.web})
			require.ErrorContains(t, err, tt.text)
			if tt.is != nil {
				require.ErrorIs(t, err, tt.is)
			}
			for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
				require.NotContains(t, text, canary)
			}
		})
	}
}

// A context and Close end a step whatever the transport does.
func TestEnds(t *testing.T) {
	t.Parallel()
	t.Run("context", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		never := transport(func(*http.Request) (*http.Response, error) { cancel(); select {} })
		_, _, err := webflow.Begin(ctx, webflow.Options{Tenant: tenant, Username: alice, Transport: never})
		require.ErrorIs(t, err, context.Canceled)
	})
	t.Run("close beside a running poll", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, nil)
		o := w.options(carol)
		var f *webflow.Flow
		polling := make(chan struct{})
		o.Transport = transport(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "EndAuth") {
				close(polling)
				select {}
			}
			return w.web.Do(r)
		})
		f, c, err := webflow.Begin(t.Context(), o)
		require.NoError(t, err)
		require.Equal(t, webflow.Number, c.Kind)
		done := make(chan error, 1)
		go func() {
			_, err := f.Continue(t.Context(), webflow.Answer{Poll: true})
			done <- err
		}()
		<-polling
		f.Close()
		f.Close()
		require.ErrorIs(t, <-done, webflow.ErrClosed)
		_, err = f.Continue(t.Context(), webflow.Answer{Poll: true})
		require.ErrorIs(t, err, webflow.ErrClosed)
		_, err = f.Tokens()
		require.ErrorIs(t, err, webflow.ErrClosed)
	})
	t.Run("close while it waits", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, nil)
		o := w.options(carol)
		waiting := make(chan struct{})
		o.Wait = func(ctx context.Context, _ time.Duration) error {
			close(waiting)
			<-ctx.Done()
			return ctx.Err()
		}
		f, _, err := webflow.Begin(t.Context(), o)
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() {
			_, err := f.Wait(t.Context())
			done <- err
		}()
		<-waiting
		f.Close()
		require.ErrorIs(t, <-done, webflow.ErrClosed)
	})
}

func TestFindMethods(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for user, want := range map[string]webflow.Methods{
		alice:                    {Exists: true, Password: true},
		kim:                      {Exists: true, Password: true, SecurityKey: true},
		paul:                     {Exists: true, Password: true, Phone: true},
		dave:                     {Exists: true, Password: true, Federated: true},
		"nobody@contoso.example": {Password: true},
	} {
		got, err := webflow.FindMethods(t.Context(), w.options(user))
		require.NoError(t, err)
		require.Equal(t, want, got, user)
	}
	require.False(t, w.AnswerNumberMatch("paul", 0), "a phone rang")
}

// A flow that one process saved ends in another, and the password is not in it.
func TestSavedFlowEndsInAnotherProcess(t *testing.T) {
	t.Parallel()
	for _, user := range []string{carol, alice, kim, paul} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			file := filepath.Join(t.TempDir(), "master")
			keys, err := softkeys.Open(softkeys.File(file), softkeys.InsecureFastPINs())
			require.NoError(t, err)
			defer keys.Close()
			o := w.options(user)
			if user == paul {
				o.Password = ""
			}
			f, c, err := webflow.Begin(t.Context(), o)
			require.NoError(t, err)
			data, err := f.Save(t.Context(), keys)
			require.NoError(t, err)
			f.Close()
			for _, plain := range []string{secret, user, "microsoftonline", "Challenge", "SessionID"} {
				require.NotContains(t, string(data), plain)
			}
			other, err := softkeys.Open(softkeys.File(filepath.Join(t.TempDir(), "other")), softkeys.InsecureFastPINs())
			require.NoError(t, err)
			defer other.Close()
			_, _, err = webflow.Resume(t.Context(), data, other, webflow.Options{Transport: w.web})
			require.ErrorContains(t, err, "cannot be opened")
			data[len(data)/2] ^= 1
			_, _, err = webflow.Resume(t.Context(), data, keys, webflow.Options{Transport: w.web})
			require.ErrorContains(t, err, "cannot be opened")
			data[len(data)/2] ^= 1

			g, resumed, err := webflow.Resume(t.Context(), data, keys, webflow.Options{Transport: w.web, Now: w.Now, Wait: w.wait})
			require.NoError(t, err)
			defer g.Close()
			require.Equal(t, c, resumed)
			var a webflow.Answer
			switch user {
			case carol, paul:
				a = approve(strings.TrimSuffix(user, "@contoso.example"))(t, w, c)
			case alice:
				a = appCode(alice)(t, w, c)
			case kim:
				a = touch(t, w, c)
			}
			c, err = g.Continue(t.Context(), a)
			require.NoError(t, err)
			require.Equal(t, webflow.Done, c.Kind)
		})
	}
}

const childEnv = "WEBFLOW_TEST_RESUME"

// The same with two real processes and a tenant between them over TLS.
func TestResumeInAChild(t *testing.T) {
	if dir := os.Getenv(childEnv); dir != "" {
		resumeInChild(t, dir)
		return
	}
	t.Parallel()
	w := newWorld(t, nil)
	dir := t.TempDir()
	keys, err := softkeys.Open(softkeys.File(filepath.Join(dir, "master")), softkeys.InsecureFastPINs())
	require.NoError(t, err)
	defer keys.Close()
	f, _, err := webflow.Begin(t.Context(), w.options(alice))
	require.NoError(t, err)
	data, err := f.Save(t.Context(), keys)
	require.NoError(t, err)
	f.Close()
	code, _, err := w.OneTimeCode(alice)
	require.NoError(t, err)
	for name, content := range map[string]string{"flow": string(data), "code": code, "addr": w.Addr(), "ca": string(w.CA())} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestResumeInAChild$", "-test.v")
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.FileExists(t, filepath.Join(dir, "done"))
}

// MFA done in a webflow is MFA of the PRT: it makes the tokens of other apps
// silent, which a policy asks MFA for.
func TestMFAReachesOtherApps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	keys := machines["software keys"](t)
	b := w.broker(t, keys)
	f, _, err := webflow.Begin(t.Context(), w.options(alice))
	require.NoError(t, err)
	code, _, err := w.OneTimeCode(alice)
	require.NoError(t, err)
	_, err = f.Continue(t.Context(), webflow.Answer{Code: code})
	require.NoError(t, err)
	tokens, err := f.Tokens()
	require.NoError(t, err)
	f.Close()
	res, err := b.Enroll(t.Context(), tokens.Credential(), broker.EnrollRequest{})
	require.NoError(t, err)
	require.Equal(t, claims.Yes, res.Metadata.MFA.MFA)
	w.clock.Advance(time.Hour) // the MFA is not fresh any more, and holds
	before := len(w.SignIns())
	for _, scope := range []string{"api://payroll/.default", "api://ledger/.default"} {
		got, err := b.AcquireTokenSilent(t.Context(), []string{scope}, broker.WithApp(broker.App{ClientID: app, RedirectURI: native}))
		require.NoError(t, err)
		require.NotEmpty(t, got.AccessToken)
	}
	for _, s := range w.SignIns()[before:] {
		require.Zero(t, s.MFAPrompts)
	}
}

// onPages is a Prompter that answers by the pages alone.
type onPages struct{ *webflow.Pages }

func (onPages) DeviceCode(context.Context, broker.DeviceCode) error { return errors.ErrUnsupported }
func (onPages) PIN(context.Context, broker.Account) (broker.PIN, error) {
	return broker.PIN{}, errors.ErrUnsupported
}

// So it does when an app asked for the MFA: a step-up on the pages, and the next app
// is not asked.
func TestStepUpReachesOtherApps(t *testing.T) {
	t.Parallel()
	for machine, keys := range machines {
		t.Run(machine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			asked := 0
			user := asker(func(_ context.Context, c webflow.Challenge, _ error) (webflow.Answer, error) {
				if c.Kind == webflow.Password {
					return webflow.Answer{Password: secret}, nil
				}
				asked++
				return appCode(alice)(t, w, c), nil
			})
			b, err := broker.New(t.Context(), broker.Config{Tenant: tenant, Keys: keys(t), Transport: w.web.inner, Now: w.Now,
				App: broker.App{ClientID: app, RedirectURI: native}, Prompter: onPages{&webflow.Pages{Options: webflow.Options{Transport: w.web}, Asker: user}}})
			require.NoError(t, err)
			defer b.Close()
			_, err = b.Enroll(t.Context(), broker.Password{Username: alice, Password: secret}, broker.EnrollRequest{})
			require.NoError(t, err)
			_, err = b.AcquireTokenSilent(t.Context(), []string{"api://payroll/.default"})
			require.ErrorIs(t, err, broker.ErrInteractionRequired)
			_, err = b.AcquireTokenInteractive(t.Context(), []string{"api://payroll/.default"})
			require.NoError(t, err)
			require.Equal(t, 1, asked)
			before := len(w.SignIns())
			_, err = b.AcquireTokenSilent(t.Context(), []string{"api://ledger/.default"})
			require.NoError(t, err)
			require.Equal(t, 1, asked)
			for _, s := range w.SignIns()[before:] {
				require.Zero(t, s.MFAPrompts)
			}
		})
	}
}

// The broker takes a WebFlow wherever it takes a page.
func TestWebFlowIsACredential(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	b := w.broker(t, machines["software keys"](t))
	user := asker(func(_ context.Context, c webflow.Challenge, wrong error) (webflow.Answer, error) {
		switch c.Kind {
		case webflow.Password:
			return webflow.Answer{Password: secret}, nil
		case webflow.Code:
			if wrong == nil {
				return webflow.Answer{Code: "000000"}, nil
			}
			return appCode(alice)(t, w, c), nil
		}
		return webflow.Answer{}, broker.ErrUserCanceled
	})
	cred := broker.WebFlow{LoginHint: alice, MFA: true, Pages: &webflow.Pages{Options: webflow.Options{Transport: w.web}, Asker: user}}
	res, err := b.Enroll(t.Context(), cred, broker.EnrollRequest{})
	require.NoError(t, err)
	require.Equal(t, claims.Yes, res.Metadata.MFA.MFA)
	w.clock.Advance(time.Minute)
	_, err = b.SignIn(t.Context(), cred)
	require.NoError(t, err)
	_, err = b.SignIn(t.Context(), broker.WebFlow{LoginHint: alice})
	require.ErrorContains(t, err, "WebFlow.Pages is required")
	cred.Pages = &webflow.Pages{Options: webflow.Options{Transport: w.web}, Asker: asker(func(context.Context, webflow.Challenge, error) (webflow.Answer, error) {
		return webflow.Answer{}, broker.ErrUserCanceled
	})}
	_, err = b.SignIn(t.Context(), cred)
	require.ErrorIs(t, err, broker.ErrUserCanceled)
}

type asker func(context.Context, webflow.Challenge, error) (webflow.Answer, error)

func (a asker) Ask(ctx context.Context, c webflow.Challenge, wrong error) (webflow.Answer, error) {
	return a(ctx, c, wrong)
}

// A recording has the shape of pages and no value.
func TestRecorder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	o := w.options(pia)
	o.Record = t.TempDir()
	f, c, err := webflow.Begin(t.Context(), o)
	require.NoError(t, err)
	_, err = f.Continue(t.Context(), textMessage("pia")(t, w, c))
	require.NoError(t, err)
	tokens, err := f.Tokens()
	require.NoError(t, err)
	f.Close()
	files, err := filepath.Glob(filepath.Join(o.Record, "*.json"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 5)
	var all strings.Builder
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		all.Write(data)
	}
	require.Contains(t, all.String(), `"pgid": "ConvergedTFA"`)
	require.Contains(t, all.String(), `"arrUserProofs": "list of object"`)
	for _, value := range []string{"pia", "Contoso", secret, "+XX", tokens.RefreshToken, w.TenantID(), "eyJ"} {
		require.NotContains(t, all.String(), value)
	}
}

// Nothing prints a secret.
func TestNothingPrintsSecrets(t *testing.T) {
	t.Parallel()
	for _, v := range []any{
		webflow.Answer{Password: "canary", Code: "canary", NewPassword: "canary"}, webflow.Tokens{RefreshToken: "canary", AccessToken: "canary"},
		webflow.Options{Password: "canary"},
	} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
			require.NotContains(t, fmt.Sprintf(format, v), "canary")
		}
	}
}
