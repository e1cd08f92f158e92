package webflow

import (
	"context"
	"net/http"
	"net/url"

	"github.com/prtbroker/prtbroker/broker/webflow/internal/page"
)

// A view holds what later steps need from a page: its endpoints, and the values
// to send back to them. Fields that the page lacks are empty.
type view struct {
	Page, Base                        string // id and address
	Post, Types, OneTime, Session     string
	BeginAuth, EndAuth, KeyLogin      string
	SSPRBegin, SSPRPoll, Resume       string
	Ctx, Token, Canary, Cross         string // the newest
	SessionID, Correlation            string
	Identities, KeyList, KeyChallenge string
}

// read takes what later steps need from a page.
func (f *Flow) read(at *url.URL, p *page.Page) {
	if !p.HasConfig() {
		return
	}
	v := view{
		Page: p.ID, Base: at.String(), Post: p.Text("urlPost"), Types: p.Text("urlGetCredentialType"),
		OneTime: p.Text("urlGetOneTimeCode"), Session: p.Text("urlSessionState"), BeginAuth: p.Text("urlBeginAuth"),
		EndAuth: p.Text("urlEndAuth"), KeyLogin: p.Text("urlFidoLogin"), SSPRBegin: p.Text("urlAsyncSsprBegin"),
		SSPRPoll: p.Text("urlAsyncSsprPoll"), Resume: p.Text("urlResume"), Ctx: p.Text("sCtx"), Token: p.Text("sFT"),
		Canary: p.Text("canary"), Cross: p.Text("sCrossDomainCanary"), SessionID: p.Text("sessionId"),
		Correlation: p.Text("correlationId"), Identities: p.Text("iAllowedIdentities"), KeyChallenge: p.Text("sFidoChallenge"),
	}
	if list := p.Strings("arrFidoAllowList"); len(list) > 0 {
		v.KeyList = list[0]
	}
	f.at.View, f.at.Polls = v, 0
}

// endpoint returns the address of one of the page's endpoints.
func (f *Flow) endpoint(field, value string) (*url.URL, error) {
	if value == "" {
		return nil, lacking(&page.MissingError{Page: f.at.View.Page, Field: field})
	}
	base, err := url.Parse(f.at.View.Base)
	if err != nil {
		return nil, err
	}
	u, err := base.Parse(value)
	if err != nil {
		return nil, failed("the page's "+field+" is a malformed address", ErrPage)
	}
	return u, nil
}

// form returns the fields that every form of the pages carries.
func (f *Flow) form() url.Values {
	return url.Values{"ctx": {f.at.View.Ctx}, "flowToken": {f.at.View.Token}, "canary": {f.at.View.Canary}, "client-request-id": {f.at.View.Correlation}}
}

// send sends a form to the page's urlPost and continues from the reply.
func (f *Flow) send(ctx context.Context, form url.Values) error {
	u, err := f.endpoint("urlPost", f.at.View.Post)
	if err != nil {
		return err
	}
	r, err := f.web.post(ctx, u, form)
	if err != nil {
		return err
	}
	return f.arrive(ctx, r)
}

// ask calls an endpoint of the page's scripts.
func (f *Flow) ask(ctx context.Context, field, value string, in, out any) error {
	u, err := f.endpoint(field, value)
	if err != nil {
		return err
	}
	return f.web.call(ctx, http.MethodPost, u, http.Header{
		"canary": {f.at.View.Canary}, "client-request-id": {f.at.View.Correlation}, "hpgrequestid": {f.at.View.SessionID},
	}, in, out)
}
