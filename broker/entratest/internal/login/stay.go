package login

import (
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

func (s *Pages) showKMSI(w http.ResponseWriter, r *web.Request, fl *session.Flow) {
	p := s.newPage(r, fl, "kmsi", "Stay signed in?")
	p.Action = "/kmsi"
	p.Config["pgid"], p.Config["urlPost"] = "KmsiInterrupt", p.Action
	p.Write(w, http.StatusOK)
}

// kmsi handles the answer from the page that asks whether to stay signed in.
func (s *Pages) kmsi(w http.ResponseWriter, r *web.Request) {
	fl, err := s.Keeper.OpenFlow(flowField(r))
	if err != nil {
		s.ErrorPage(w, r, err)
		return
	}
	fl.KMSI = true
	s.next(w, r, fl)
}
