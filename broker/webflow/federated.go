package webflow

import (
	"context"
	"net/url"
	"strings"

	"github.com/prtbroker/prtbroker/broker/webflow/internal/page"
)

// isPasswordForm reports whether the page is the federation server's page that
// asks for a password.
func (f *Flow) isPasswordForm(r *reply, p *page.Page) bool {
	return r.at != nil && f.web.federation != "" && strings.EqualFold(r.at.Host, f.web.federation) && passwordForm(p) != nil
}

// passwordForm returns the form that asks for a password, or nil if there is
// none.
func passwordForm(p *page.Page) *page.Form {
	for i := range p.Forms {
		if _, password := names(&p.Forms[i]); password != "" && p.Forms[i].Post {
			return &p.Forms[i]
		}
	}
	return nil
}

// names returns the names of the fields for the user and the password.
func names(form *page.Form) (user, password string) {
	for name, typ := range form.Types {
		switch {
		case typ == "password":
			password = name
		case (typ == "text" || typ == "email" || typ == "") && strings.Contains(strings.ToLower(name), "user"):
			user = name
		}
	}
	return user, password
}

// sendFederated signs in with the federation server's form. The password is sent
// only to that server, and only once.
func (f *Flow) sendFederated(ctx context.Context, password string) error {
	u, err := url.Parse(f.at.Federation)
	if err != nil {
		return err
	}
	r, err := f.web.get(ctx, u)
	if err != nil {
		return err
	}
	form := passwordForm(page.Parse(r.body))
	if form == nil || r.at == nil || !strings.EqualFold(r.at.Host, f.web.federation) {
		return failed("the federation server shows no form for a password: sign in with broker.Federated (WS-Trust), or "+deviceCode, ErrPage)
	}
	to, err := r.at.Parse(form.Action)
	if err != nil || !strings.EqualFold(to.Host, f.web.federation) {
		return failed("the federation server's form leads to another host: "+deviceCode, ErrPage)
	}
	user, pass := names(form)
	if user != "" {
		form.Fields.Set(user, f.at.User)
	}
	form.Fields.Set(pass, password)
	if r, err = f.web.post(ctx, to, form.Fields); err != nil {
		return err
	}
	if f.isPasswordForm(r, page.Parse(r.body)) {
		return wrong("the federation server does not accept the user name and the password", 0)
	}
	return f.arrive(ctx, r)
}
