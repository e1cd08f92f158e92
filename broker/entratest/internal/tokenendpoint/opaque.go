package tokenendpoint

import (
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
)

// Opaque is what a refresh token or a PRT holds, for an administrator's eyes.
type Opaque struct {
	PRT             bool
	Client          string // client id; "" for a PRT that is for no client
	Session         session.Session
	Issued, Expires time.Time
}

// ReadOpaque opens a refresh token or a PRT. It reports false for anything else.
func (s *Service) ReadOpaque(token string) (Opaque, bool) {
	var rec refreshRecord
	if s.Keeper.Box.Open(session.KindRefresh, token, &rec) == nil {
		return Opaque{Client: rec.Client, Session: rec.Session, Issued: time.Unix(rec.Issued, 0), Expires: time.Unix(rec.Expires, 0)}, true
	}
	var p prtRecord
	if s.Keeper.Box.Open(session.KindPRT, token, &p) == nil {
		return Opaque{PRT: true, Client: p.Client, Session: p.Session, Issued: time.Unix(p.Issued, 0), Expires: time.Unix(p.Expires, 0)}, true
	}
	return Opaque{}, false
}
