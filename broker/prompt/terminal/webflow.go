package terminal

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/prtbroker/prtbroker/broker/webflow"
)

var _ webflow.Asker = (*Prompter)(nil)

// Ask asks for what a sign-in page needs. It makes the Prompter the Asker of a
// [webflow.Pages]. If the user can answer in another way, a question mark in place
// of a code or a password lists the ways. Ask does not use the security key, which
// is up to a [webflow.Authenticator]. If that fails, the user may try it again,
// choose another way, or continue with a code on another device.
func (p *Prompter) Ask(ctx context.Context, c webflow.Challenge, wrong error) (webflow.Answer, error) {
	if c.Kind == webflow.SecurityKey {
		return p.afterKey(ctx, c, wrong)
	}
	if wrong != nil {
		if err := p.Show(ctx, "That was not accepted. Try again."); err != nil {
			return webflow.Answer{}, err
		}
	}
	switch {
	case c.Kind.Polls():
		return webflow.Answer{Poll: true}, p.Show(ctx, c.Message)
	case c.Kind == webflow.NewPassword:
		return p.newPassword(ctx, c)
	}
	question := c.Message + " "
	if len(c.Methods) > 0 {
		question = strings.TrimSuffix(c.Message, ".") + " (? for another way): "
	}
	line, err := p.Secret(ctx, question)
	if err != nil {
		return webflow.Answer{}, err
	}
	defer clear(line)
	switch text := string(line); {
	case text == "?" && len(c.Methods) > 0:
		return p.otherWay(ctx, c)
	case c.Kind == webflow.Password:
		return webflow.Answer{Password: text}, nil
	default:
		return webflow.Answer{Code: text}, nil
	}
}

// anotherDevice is the choice of users who cannot continue here.
const anotherDevice = "another device"

// afterKey lets the user choose what to do if there is no security key, or if it
// failed.
func (p *Prompter) afterKey(ctx context.Context, c webflow.Challenge, wrong error) (webflow.Answer, error) {
	if wrong != nil {
		if err := p.Show(ctx, "The security key cannot be used ("+wrong.Error()+")."); err != nil {
			return webflow.Answer{}, err
		}
		c.Methods = append([]webflow.Method{{ID: c.Method, Label: "Security key, again"}}, c.Methods...)
	}
	unsupported := fmt.Errorf("terminal: security keys are not supported: %w", errors.ErrUnsupported)
	if len(c.Methods) == 0 {
		return webflow.Answer{}, unsupported
	}
	c.Methods = append(c.Methods[:len(c.Methods):len(c.Methods)], webflow.Method{ID: anotherDevice, Label: "Code on another device"})
	a, err := p.otherWay(ctx, c)
	if err == nil && a.Choice == anotherDevice {
		return webflow.Answer{}, unsupported
	}
	return a, err
}

// otherWay lets the user choose one of the other methods.
func (p *Prompter) otherWay(ctx context.Context, c webflow.Challenge) (webflow.Answer, error) {
	list := "Ways to sign in:"
	for i, m := range c.Methods {
		list += fmt.Sprintf("\n  %d  %s", i+1, m.Label)
	}
	if err := p.Show(ctx, list); err != nil {
		return webflow.Answer{}, err
	}
	for {
		line, err := p.Line(ctx, "Number of the way: ")
		if err != nil {
			return webflow.Answer{}, err
		}
		for i, m := range c.Methods {
			if strings.TrimSpace(line) == fmt.Sprint(i+1) {
				return webflow.Answer{Choice: m.ID}, nil
			}
		}
	}
}

// newPassword asks for the expired password and, twice, for the new one.
func (p *Prompter) newPassword(ctx context.Context, c webflow.Challenge) (webflow.Answer, error) {
	if err := p.Show(ctx, c.Message); err != nil {
		return webflow.Answer{}, err
	}
	old, err := p.Secret(ctx, "Old password: ")
	if err != nil {
		return webflow.Answer{}, err
	}
	defer clear(old)
	for {
		next, err := p.Secret(ctx, "New password: ")
		if err != nil {
			return webflow.Answer{}, err
		}
		again, err := p.Secret(ctx, "New password again: ")
		same := err == nil && string(next) == string(again)
		a := webflow.Answer{Password: string(old), NewPassword: string(next)}
		clear(next)
		clear(again)
		if err != nil {
			return webflow.Answer{}, err
		}
		if same {
			return a, nil
		}
		if err := p.Show(ctx, "The two do not match."); err != nil {
			return webflow.Answer{}, err
		}
	}
}

// signIn goes through the pages on the terminal, for Authorize.
func (p *Prompter) signIn(ctx context.Context, page, redirectPrefix string) (string, error) {
	pages := webflow.Pages{Options: *p.SignIn, Asker: p, Key: p.Key}
	if pages.Options.Username == "" && !strings.Contains(page, "login_hint=") {
		name, err := p.Line(ctx, "User name: ")
		if err != nil {
			return "", err
		}
		pages.Options.Username = name
	}
	return pages.Authorize(ctx, page, redirectPrefix)
}
