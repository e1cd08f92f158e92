package webflow

import (
	"context"

	"github.com/prtbroker/prtbroker/broker/webflow/internal/page"
)

// Methods says which credentials a user can begin with.
type Methods struct {
	// Exists is false when the directory says that it has no such user. The
	// service does not always say so.
	Exists bool
	// Federated reports whether the organization's own server takes the password.
	Federated                                bool
	Password, AccessPass, SecurityKey, Phone bool
}

// FindMethods asks which credentials o.Username can begin with, before a password
// is requested. It makes no phone ring. For that reason the service may not
// report that the user can sign in with a phone, which [Begin] without a password
// finds out. It makes two requests.
func FindMethods(ctx context.Context, o Options) (Methods, error) {
	o.Password = redacted // no credential is sent: it keeps the phone quiet
	if err := o.check(); err != nil {
		return Methods{}, err
	}
	o = o.withDefaults()
	q := newRequest(o)
	f := newFlow(o, q.Redirect)
	defer f.Close()
	f.at.Quiet = true
	var out Methods
	_, err := f.step(ctx, func(ctx context.Context) error {
		r, err := f.web.get(ctx, q.url(o.Cloud))
		if err != nil {
			return err
		}
		out, err = f.methods(ctx, r)
		return err
	})
	return out, err
}

// methods reads the first page for which credentials the user has.
func (f *Flow) methods(ctx context.Context, r *reply) (Methods, error) {
	if r.redirected != "" {
		return Methods{}, failed("the page signed in without asking anything")
	}
	p := page.Parse(r.body)
	f.read(r.at, p)
	if p.ID != page.SignIn || p.Code() != 0 {
		_, err := f.open(ctx, r, p)
		if err == nil {
			err = unknownPage(p)
		}
		return Methods{}, err
	}
	t, err := f.types(ctx, false)
	if err != nil {
		return Methods{}, err
	}
	c := t.Credentials
	return Methods{Exists: t.IfExistsResult != existsNot, Federated: c.FederationRedirectURL != "", Password: c.HasPassword,
		AccessPass: c.HasAccessPass, SecurityKey: c.HasFido, Phone: c.HasRemoteNGC}, nil
}
