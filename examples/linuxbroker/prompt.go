package main

import (
	"context"
	"errors"
	"net/http"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/prompt/chromium"
	"github.com/prtbroker/prtbroker/prt"
)

// Values of -prompt.
const (
	promptWindow       = "window"
	promptNotification = "notification"
)

// prompter returns the way to prompt the user: with the sign-in page in a
// window of an installed browser, where cookies identify this device, or with a
// device code in a notification if there is no browser or if -prompt says so.
func prompter(o options, cookies func(ctx context.Context, page string) ([]*http.Cookie, error)) broker.Prompter {
	n := &notifier{address: o.bus}
	if o.prompt != promptWindow {
		return n
	}
	return &chromium.Prompter{
		Path:     o.browser,
		Fallback: n,
		Cookies: func(ctx context.Context, page string) ([]*http.Cookie, error) {
			all, err := cookies(ctx, page)
			if err != nil {
				return nil, nil // nobody is signed in yet: the page asks for the user
			}
			return all, nil
		},
	}
}

// enrol registers the machine by a sign-in of the user, one program at a time:
// two that start at log-in cause one prompt.
func (d *desktop) enrol(ctx context.Context, hint string) error {
	select {
	case d.enrolling <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-d.enrolling }()
	st, err := d.Status(ctx)
	if err != nil || st.Registered {
		return err
	}
	kind := prt.JoinPersonal
	if d.join {
		kind = prt.JoinEntra
	}
	d.log.InfoContext(ctx, "registering this machine", "type", kind.String())
	req := broker.EnrollRequest{JoinType: kind}
	_, err = d.Enroll(ctx, broker.AuthCode{LoginHint: hint}, req)
	if errors.Is(err, errors.ErrUnsupported) { // there is no page to sign in on
		_, err = d.Enroll(ctx, broker.DeviceCodeFlow{}, req)
	}
	return err
}
