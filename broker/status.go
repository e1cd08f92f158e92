package broker

import (
	"context"
	"errors"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/tpm"
)

// A Status is the state of device, tenant, user and sign-on as it is stored
// here, in the sections of `dsregcmd /status`. It holds no secret. String
// prints that layout; JSON has the same facts.
type Status struct {
	// Registered says that the registration is here and complete. Device is
	// zero when it is not.
	Registered bool      `json:"registered"`
	Device     Device    `json:"device"`
	Tenant     Tenant    `json:"tenant"`
	Protection tpm.Info  `json:"protection"`
	Accounts   []Account `json:"accounts"`
	// PRTs has one entry for each account.
	PRTs []PRTStatus `json:"prts"`
	// Failed is the last sign-in in this process of a user who has no account here,
	// when it failed; nil after a success.
	Failed *Attempt `json:"failed,omitempty"`
	// Hello has one entry for each account with a Hello key.
	Hello []HelloStatus `json:"hello,omitempty"`
	// Problem says why the state could not be read whole; empty when it was.
	Problem string    `json:"problem,omitempty"`
	Time    time.Time `json:"time"` // when this was asked
}

// A Tenant is where the services of the tenant are, as discovery said at the
// registration.
type Tenant struct {
	ID           string          `json:"id"`
	Name         string          `json:"name,omitempty"`
	Idp          string          `json:"idp"`
	AuthCodeURL  string          `json:"authCodeUrl,omitempty"`
	TokenURL     string          `json:"accessTokenUrl,omitempty"`
	Join         ServiceEndpoint `json:"joinSrv,omitzero"`
	Key          ServiceEndpoint `json:"keySrv,omitzero"`
	WebAuthN     ServiceEndpoint `json:"webAuthNSrv,omitzero"`
	Manage       ServiceEndpoint `json:"deviceManagementSrv,omitzero"`
	PRTAuthority string          `json:"prtAuthority,omitempty"`
}

// A ServiceEndpoint is a service of the registration host.
type ServiceEndpoint struct {
	Version string `json:"version,omitempty"`
	URL     string `json:"url,omitempty"`
	ID      string `json:"id,omitempty"`
}

// Status says what `dsregcmd /status` shows, and what protects the keys. It
// makes no request, so that it cannot say whether the service still takes the
// device. A state that is not readable is described, not an error.
func (b *Broker) Status(ctx context.Context) (_ Status, err error) {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return Status{}, err
	}
	defer leave(&err)
	s := Status{Time: b.cfg.Now(), Failed: attemptOf(b.engine.Failed()), Accounts: []Account{}, PRTs: []PRTStatus{}}
	info, err := b.cfg.Keys.Info(ctx)
	if err != nil {
		return s, opError("status", keyError("status", err))
	}
	s.Protection = info
	d, err := b.devices.Current(ctx)
	switch {
	case err == nil:
		s.Registered, s.Device, s.Tenant = true, *deviceOf(d), b.tenant(d.Record)
	case ctx.Err() != nil:
		return s, ctx.Err()
	case !errors.Is(err, device.ErrNone):
		s.Problem = err.Error()
	}
	all, unreadable, err := b.book.All(ctx)
	if err = errors.Join(err, unreadable); err != nil {
		if ctx.Err() != nil {
			return s, ctx.Err()
		}
		s.Problem = err.Error()
	}
	for _, a := range all {
		if rec := a.Record(); rec != nil {
			s.Accounts = append(s.Accounts, Account(rec.Account))
			s.PRTs = append(s.PRTs, statusOf(rec, s.Time))
			if h := helloStatus(rec, s.Time); h.Set {
				s.Hello = append(s.Hello, h)
			}
		}
	}
	return s, nil
}

func (b *Broker) tenant(r *device.Record) Tenant {
	e := r.Endpoints
	t := Tenant{
		ID:           r.TenantID,
		Name:         e.TenantName,
		Idp:          b.cloud().Environment,
		AuthCodeURL:  e.AuthCode,
		TokenURL:     e.Token,
		Join:         ServiceEndpoint{e.JoinVersion, e.Join, e.JoinResource},
		Key:          ServiceEndpoint{e.KeyVersion, e.Key, e.KeyResource},
		WebAuthN:     ServiceEndpoint{e.WebAuthNVersion, e.WebAuthN, e.WebAuthNID},
		Manage:       ServiceEndpoint{e.ManageVersion, e.Manage, e.ManageID},
		PRTAuthority: "https://" + b.cloud().LoginHost + "/" + r.TenantID,
	}
	if t.Name == "" && len(r.TenantNames) > 0 {
		t.Name = r.TenantNames[0]
	}
	return t
}
