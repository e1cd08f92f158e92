package webflow

import (
	"context"
	"net/url"
	"strings"

	"github.com/prtbroker/prtbroker/broker/webflow/internal/page"
)

// limits of a sign-in.
const (
	maxPages   = 24 // without the user
	maxSubmits = 10 // pages that a script submits
)

// arrive looks at a page and continues until the user must answer.
func (f *Flow) arrive(ctx context.Context, r *reply) error {
	submits := 0
	for range maxPages {
		if r.redirected != "" {
			return f.finish(ctx, r.redirected)
		}
		p := page.Parse(r.body)
		var err error
		switch {
		case p.Redirect != "" && f.web.ends(p.Redirect):
			return f.finish(ctx, p.Redirect)
		case p.Redirect != "" && p.ID == "":
			r, err = f.follow(ctx, r.at, p.Redirect)
		case p.AutoSubmit && !f.isPasswordForm(r, p):
			if submits++; submits > maxSubmits {
				return failed("the pages redirect in a loop: "+deviceCode, ErrPage)
			}
			r, err = f.submit(ctx, r.at, p.Forms[0])
		default:
			f.read(r.at, p)
			if r, err = f.open(ctx, r, p); r == nil && err == nil {
				return nil // the user is next
			}
		}
		if err != nil {
			return err
		}
	}
	return failed("the sign-in does not finish: "+deviceCode, ErrPage)
}

// follow opens the address that a script leads to.
func (f *Flow) follow(ctx context.Context, at *url.URL, to string) (*reply, error) {
	u, err := at.Parse(to)
	if err != nil {
		return nil, failed("the page leads to a malformed address", ErrPage)
	}
	return f.web.get(ctx, u)
}

// submit sends a form unchanged.
func (f *Flow) submit(ctx context.Context, at *url.URL, form page.Form) (*reply, error) {
	u, err := at.Parse(form.Action)
	if err != nil {
		return nil, failed("the form of the page leads to a malformed address", ErrPage)
	}
	if f.web.ends(u.String()) { // response_mode form_post
		sep := "?"
		if strings.Contains(u.String(), "?") {
			sep = "&"
		}
		return &reply{at: at, redirected: u.String() + sep + form.Fields.Encode()}, nil
	}
	if !form.Post {
		u.RawQuery = form.Fields.Encode()
		return f.web.get(ctx, u)
	}
	return f.web.post(ctx, u, form.Fields)
}

// finish completes a successful sign-in.
func (f *Flow) finish(ctx context.Context, redirected string) error {
	f.end = redirected
	if f.at.Request != nil {
		t, err := f.redeem(ctx, redirected)
		if err != nil {
			return err
		}
		f.tokens = t
	}
	f.at.Challenge = Challenge{Kind: Done, Message: "Signed in."}
	return nil
}

// redirected returns the address at which the sign-in ended.
func (f *Flow) redirected() (string, error) {
	select {
	case <-f.turn:
	case <-f.ctx.Done():
		return "", ErrClosed
	}
	defer f.leave()
	return f.end, nil
}
