package entratest

import (
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/tokenendpoint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// PRTStatus is what the service knows about a Primary Refresh Token that it issued.
// A renewal updates the entry of the token that it renews.
type PRTStatus struct {
	ID       string // of this entry
	Username string
	UserID   string
	DeviceID string
	BornOf   string   // password, Windows Hello, certificate, refresh token, federation
	AMR      []string // as in the claim amr

	Born     time.Time // when its credential was last given
	First    time.Time // when it was first issued
	Issued   time.Time // when it was last renewed, or issued
	Expires  time.Time // when the newest token expires
	Renewals int       // how often it was renewed

	MFA     bool      // whether it carries the MFA claim
	MFATime time.Time // zero without MFA; a plain renewal does not move it

	ErrorCode int    // AADSTS code that its use would give now; zero: it is usable
	Error     string // the service's message for that code
}

// PRTs returns the PRTs that were issued, oldest first. Only the newest are kept, as
// many as [Options].SignInLog says.
func (s *Server) PRTs() []PRTStatus {
	w := s.world()
	list := w.prts.All()
	out := make([]PRTStatus, 0, len(list))
	for _, t := range list {
		out = append(out, w.prtStatus(&t))
	}
	return out
}

func (w *world) prtStatus(t *tokenendpoint.TrackedPRT) PRTStatus {
	ss := &t.Session
	p := PRTStatus{
		ID: ss.SID, UserID: ss.User, DeviceID: ss.Device, BornOf: t.BornOf(), AMR: ss.AMR(false),
		Born: time.Unix(t.Born, 0).UTC(), First: time.Unix(t.First, 0).UTC(), Issued: time.Unix(t.Issued, 0).UTC(),
		Expires: time.Unix(t.Expires, 0).UTC(), Renewals: t.Renewals,
	}
	if ss.MFA != 0 {
		p.MFA, p.MFATime = true, time.Unix(ss.MFA, 0).UTC()
	}
	p.Username = ss.User
	if u := w.dir.UserByID(ss.User); u != nil {
		p.Username = u.UPN
	}
	if err := w.sts.PRTError(t); err != nil {
		e := web.AsSTSError(err)
		p.ErrorCode, p.Error = e.Code, e.Text
	}
	return p
}
