package tokenendpoint

import (
	"strings"
	"sync"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// PRTError returns the error that using the PRT would give now.
func (s *Service) PRTError(t *TrackedPRT) error {
	b := &boundToken{PRT: &prtRecord{Session: t.Session, Issued: t.Issued, Expires: t.Expires}}
	if err := b.expired(s.Keeper.Now()); err != nil {
		return err
	}
	if _, err := s.Keeper.UserOf(&t.Session); err != nil {
		return err
	}
	_, err := s.Keeper.DeviceOf(&t.Session)
	return err
}

// TrackedPRT is an issued PRT without its session key.
type TrackedPRT struct {
	Session  session.Session `json:"s"`
	Client   string          `json:"c"`
	Born     int64           `json:"b"`
	First    int64           `json:"f"`
	Issued   int64           `json:"i"`
	Expires  int64           `json:"e"`
	Renewals int             `json:"r,omitempty"`
}

// BornOf names the credential that the PRT was issued for.
func (t *TrackedPRT) BornOf() string {
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

// PRTList remembers which PRTs were issued, for inspection of the tenant. The service
// itself does not need it: the state of a PRT is in its sealed text.
type PRTList struct {
	mu    sync.Mutex // guards all below
	byKey map[string]*TrackedPRT
	order []string // keys, oldest first
	limit int
}

// NewPRTList returns an empty list that keeps the newest limit PRTs.
func NewPRTList(limit int) *PRTList { return &PRTList{byKey: map[string]*TrackedPRT{}, limit: limit} }

func (l *PRTList) add(p *prtRecord) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := p.Session.SID + p.Session.Device
	t := l.byKey[key]
	if t == nil {
		t = &TrackedPRT{First: p.Issued}
		l.byKey[key] = t
		l.order = append(l.order, key)
		if len(l.order) > l.limit {
			delete(l.byKey, l.order[0])
			l.order = l.order[1:]
		}
	} else {
		t.Renewals++
	}
	t.Session, t.Client, t.Born, t.Issued, t.Expires = p.Session, p.Client, p.Born, p.Issued, p.Expires
}

// All returns the PRTs, oldest first.
func (l *PRTList) All() []TrackedPRT {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]TrackedPRT, 0, len(l.order))
	for _, key := range l.order {
		out = append(out, *l.byKey[key])
	}
	return out
}

// Restore fills an empty list.
func (l *PRTList) Restore(list []TrackedPRT) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range list[max(0, len(list)-l.limit):] {
		key := t.Session.SID + t.Session.Device
		l.byKey[key] = &t
		l.order = append(l.order, key)
	}
}
