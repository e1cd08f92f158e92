package webflow

import (
	"context"
	"net/url"
	"strings"
)

// sendPassword sends the password, once: to the service, or to the federation
// server of the user's domain, in which case the service does not see it.
func (f *Flow) sendPassword(ctx context.Context, password string) error {
	if f.at.Federation != "" {
		return f.sendFederated(ctx, password)
	}
	form := f.login()
	form.Set("passwd", password)
	form.Set("type", "11")
	form.Set("LoginOptions", "3")
	return f.send(ctx, form)
}

// login returns the form of the sign-in page.
func (f *Flow) login() url.Values {
	form := f.form()
	form.Set("login", f.at.User)
	form.Set("loginfmt", f.at.User)
	form.Set("hpgrequestid", f.at.View.SessionID)
	return form
}

// sendAccessPass sends a temporary access pass, once.
func (f *Flow) sendAccessPass(ctx context.Context, pass string) error {
	form := f.login()
	form.Set("accesspass", pass)
	if strings.HasSuffix(f.at.View.Post, "/ProcessAuth") {
		form.Set("request", f.at.View.Ctx)
		form.Del("ctx")
	}
	return f.send(ctx, form)
}
