package entratest

import (
	"crypto/rsa"
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
)

type plainServer struct{}

func (p *plainServer) close() {}

type Passkey struct{}
type passkeyRecord struct{ id string }

func (k Passkey) record() (passkeyRecord, error)                                     { return passkeyRecord{}, nil }
func (u *user) passkeyIDs() []string                                                 { return nil }
func (s *Server) showPasskey(w http.ResponseWriter, r *request, fl *flow, err error) {}
func (s *Server) loginPasskey(w http.ResponseWriter, r *request, fl *flow)           {}
func (s *Server) loginAccessPass(w http.ResponseWriter, r *request, fl *flow)        {}
func (s *Server) toFederation(w http.ResponseWriter, r *request, fl *flow)           {}
func (s *Server) samlGrant(r *request, grant string) (any, error)                    { return nil, nil }
func (s *Server) samlCredential(a, g string) (*user, *session, error)                { return nil, nil, nil }
func (s *Server) openBulk(b *bulkRecord) (*refreshRecord, *user, error)              { return nil, nil, nil }
func (s *Server) bulkToken(r *request, u *user, ss session, c *verify.Claims) (any, error) {
	return nil, nil
}
func (s *Server) devicelessPRT(r *request, rec *codeRecord, client *app, u *user, jwkText string, out map[string]any) (any, error) {
	return nil, nil
}
func (s *Server) deviceToken(r *request, dev *device, c *verify.Claims) (any, error) { return nil, nil }
func (s *Server) deviceCert(r *request, dev *device, c *verify.Claims) (any, error)  { return nil, nil }
func (s *Server) userCert(r *request, b *boundToken, u *user, c *verify.Claims) (any, error) {
	return nil, nil
}

type bulkRecord struct{}
type serverADJoinData struct {
	TransportKey, TargetDomain, DeviceType, OSVersion, DeviceDisplayName string
}

var _ rsa.PublicKey
