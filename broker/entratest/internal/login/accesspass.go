package login

import (
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

func (s *Pages) showAccessPass(w http.ResponseWriter, r *web.Request, fl *session.Flow, err error) {
	p := s.newPage(r, fl, "accesspass", "Enter your temporary access pass")
	p.Action = pathOf(fl, "login")
	p.Config["pgid"], p.Config["urlPost"] = "ConvergedSignIn", absolute(r, p.Action)
	web.Explain(&p, err)
	p.Write(w, http.StatusOK)
}

func (s *Pages) loginAccessPass(w http.ResponseWriter, r *web.Request, fl *session.Flow) {
	_, ss, err := s.Keeper.TakeAccessPass(fl.Username, r.Values.Get("accesspass"))
	if err != nil {
		r.Entry = s.flowEntry(r, fl)
		s.Web.Mistake(r, "sign-in page: %v", err)
		s.Web.Record(r, err)
		s.showAccessPass(w, r, fl, err)
		return
	}
	s.signedIn(w, r, fl, *ss)
}
