// Package adfs emulates the federation server of a federated domain, such as Active
// Directory Federation Services: WS-Trust for programs, and a page for browsers.
package adfs

import (
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// Server is the federation server of every federated domain: WS-Trust for
// programs, and one page for browsers. It knows the users' passwords, which the
// sign-in service then never sees.
type Server struct {
	Keeper *session.Keeper
	Mint   *mint.Mint
	Web    *web.Router

	ErrorPage   func(http.ResponseWriter, *web.Request, error)
	FormTargets func(*session.Flow) string // origins that the forms of a sign-in may lead to
}
