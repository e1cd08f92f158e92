package entratest

import (
	"strings"
	"sync"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// PRTStatus is what the service knows of a Primary Refresh Token it issued. A
// renewal continues the entry of the token it renews.
type PRTStatus struct {
	ID       string // of this entry
	Username string
	UserID   string
	DeviceID string
	BornOf   string // password, Windows Hello, certificate, refresh token, federation
	AMR      []string

	Born     time.Time // when the credential was given that it lives by
	First    time.Time // when the first one was issued
	Issued   time.Time // when the newest one was
	Expires  time.Time // when the newest one is too old to be used
	Renewals int

	MFA     bool
	MFATime time.Time // zero without MFA; a plain renewal does not move it

	ErrorCode int    // AADSTS code that its use would answer now; zero: it is usable
	Error     string // what that code means, in the service's words
}

// PRTs returns the PRTs that were issued, oldest first. The newest 10,000 are
// known.
func (s *Server) PRTs() []PRTStatus {
	list := s.prts.all()
	out := make([]PRTStatus, 0, len(list))
	for _, t := range list {
		out = append(out, s.prtStatus(&t))
	}
	return out
}

func (s *Server) prtStatus(t *trackedPRT) PRTStatus {
	ss := &t.Session
	p := PRTStatus{
		ID: ss.SID, UserID: ss.User, DeviceID: ss.Device, BornOf: t.bornOf(), AMR: ss.AMR(false),
		Born: time.Unix(t.Born, 0).UTC(), First: time.Unix(t.First, 0).UTC(), Issued: time.Unix(t.Issued, 0).UTC(),
		Expires: time.Unix(t.Expires, 0).UTC(), Renewals: t.Renewals,
	}
	if ss.MFA != 0 {
		p.MFA, p.MFATime = true, time.Unix(ss.MFA, 0).UTC()
	}
	p.Username = ss.User
	if u := s.dir.UserByID(ss.User); u != nil {
		p.Username = u.UPN
	}
	if err := s.prtError(t); err != nil {
		e := web.AsSTSError(err)
		p.ErrorCode, p.Error = e.Code, e.Text
	}
	return p
}

// prtError is what the use of the PRT would answer now.
func (s *Server) prtError(t *trackedPRT) error {
	b := &boundToken{prt: &prtRecord{Session: t.Session, Issued: t.Issued, Expires: t.Expires}}
	if err := b.expired(s.Now()); err != nil {
		return err
	}
	if _, err := s.keeper.UserOf(&t.Session); err != nil {
		return err
	}
	_, err := s.keeper.DeviceOf(&t.Session)
	return err
}

// trackedPRT is an issued PRT without its session key.
type trackedPRT struct {
	Session  session.Session `json:"s"`
	Client   string          `json:"c"`
	Born     int64           `json:"b"`
	First    int64           `json:"f"`
	Issued   int64           `json:"i"`
	Expires  int64           `json:"e"`
	Renewals int             `json:"r,omitempty"`
}

func (t *trackedPRT) bornOf() string {
	m := t.Session.Methods
	switch {
	case strings.EqualFold(t.Client, wire.ClientBroker):
		return "refresh token"
	case m&(claims.FederatedSingleFactor|claims.FederatedMultiFactor) != 0:
		return "federation"
	case t.Session.Password:
		return "password"
	case m&claims.WindowsHello != 0:
		return "Windows Hello"
	case m&(claims.CertificateSingleFactor|claims.CertificateMultiFactor) != 0:
		return "certificate"
	}
	return "refresh token"
}

// maxTracked bounds the list of PRTs.
const maxTracked = 10_000

// prtList remembers which PRTs were issued, for those who look at the tenant.
// The service itself needs none of it: the state of a PRT is in its text.
type prtList struct {
	mu    sync.Mutex // guards all below
	byKey map[string]*trackedPRT
	order []string // keys, oldest first
}

func newPRTList() *prtList { return &prtList{byKey: map[string]*trackedPRT{}} }

func (l *prtList) add(p *prtRecord) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := p.Session.SID + p.Session.Device
	t := l.byKey[key]
	if t == nil {
		t = &trackedPRT{First: p.Issued}
		l.byKey[key] = t
		l.order = append(l.order, key)
		if len(l.order) > maxTracked {
			delete(l.byKey, l.order[0])
			l.order = l.order[1:]
		}
	} else {
		t.Renewals++
	}
	t.Session, t.Client, t.Born, t.Issued, t.Expires = p.Session, p.Client, p.Born, p.Issued, p.Expires
}

func (l *prtList) all() []trackedPRT {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]trackedPRT, 0, len(l.order))
	for _, key := range l.order {
		out = append(out, *l.byKey[key])
	}
	return out
}

func (l *prtList) restore(list []trackedPRT) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range list {
		key := t.Session.SID + t.Session.Device
		l.byKey[key] = &t
		l.order = append(l.order, key)
	}
}
