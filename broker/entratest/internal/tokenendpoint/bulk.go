package tokenendpoint

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/verify"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// bulkRecord is the content of a bulk enrolment token (BPRT). The token may be used
// repeatedly, for joining devices, until it expires.
type bulkRecord struct {
	Tenant  string `json:"t"`
	Package string `json:"u"` // object id of the package user
	Issued  int64  `json:"i"`
	Expires int64  `json:"e"`
}

// bulkMax is how far ahead a bulk token may expire.
const bulkMax = 180 * 24 * time.Hour

// bulkBegin starts the issue of a bulk token.
func (s *Service) bulkBegin(w http.ResponseWriter, r *web.Request) {
	c, u, err := s.Mint.Bearer(r.Header.Get("Authorization"), wire.ResourceRegistration, wire.ResourceRegistrationApp)
	if err != nil {
		s.Web.RefuseDRS(w, r, web.BearerRefused(err))
		return
	}
	var in struct{ PID, Name, Exp string }
	err = json.Unmarshal(r.Data, &in)
	var end time.Time
	if err == nil {
		if end, err = time.Parse("01/02/2006", in.Exp); err != nil {
			end, err = time.Parse("2006-01-02 15:04:05", in.Exp)
		}
	}
	failed := func(code int, text string) {
		s.Web.Mistake(r, "AADSTS%d: %s", code, text)
		data, _ := json.Marshal(map[string]string{"error": "invalid_request", "error_description": "AADSTS" + strconv.Itoa(code) + ": " + text})
		web.WriteJSON(w, http.StatusOK, map[string]any{"state": "CompleteError", "flowToken": "", "resultData": string(data)})
	}
	now := s.Keeper.Now()
	switch {
	case err != nil || !ids.IsGUID(in.PID):
		failed(90023, "The request is not valid.")
		return
	case !end.After(now) || end.Sub(now) > bulkMax:
		failed(90114, "The bulk token expiration timestamp will cause an expired token to be issued.")
		return
	case c.DeviceID != "":
		failed(240001, "User is not authorized to register devices in Microsoft Entra ID.")
		return
	}
	pkg, uerr := s.packageUser(u.Tenant, in.PID, in.Name)
	if uerr != nil {
		failed(90023, "The request is not valid.")
		return
	}
	token := s.Keeper.Box.Seal(session.KindBulk, bulkRecord{Tenant: u.Tenant.ID, Package: pkg.ID, Issued: now.Unix(), Expires: end.Unix()})
	address, _ := s.Access.ClientAddress(r.Request)
	in2 := &mint.Issuance{Address: address, Client: s.Keeper.Directory.App(u.Tenant, wire.ClientBulkJoin), User: pkg, Now: now,
		Session: &session.Session{Tenant: u.Tenant.ID, User: pkg.ID, Auth: now.Unix(), SID: s.Keeper.Rand.GUID()}}
	result, _ := json.Marshal(map[string]any{
		"token_type": "Bearer", "refresh_token": token, "id_token": s.Mint.IDToken(in2, nil),
		"expires_in": web.Seconds(end.Sub(now)), "resource": wire.ResourceRegistration,
	})
	web.WriteJSON(w, http.StatusOK, map[string]any{"state": "Started", "resultData": "",
		"flowToken": s.Keeper.Box.Seal(session.KindFlow, map[string]string{"bulk": string(result)})})
}

// packageUser returns the account that a bulk token stands for.
func (s *Service) packageUser(t *directory.Tenant, pid, name string) (*directory.User, error) {
	upn := "package_" + strings.ToLower(pid) + "@" + t.Domain
	if u := s.Keeper.Directory.User(upn); u != nil {
		return u, nil
	}
	if name == "" {
		name = "package_" + pid
	}
	if err := s.Keeper.Directory.AddUser(directory.UserSpec{Username: upn, Name: name}); err != nil {
		return nil, err
	}
	if u := s.Keeper.Directory.User(upn); u != nil {
		return u, nil
	}
	return nil, s.Keeper.UnknownUser(t, upn) // deleted meanwhile
}

// bulkPoll hands out the token.
func (s *Service) bulkPoll(w http.ResponseWriter, r *web.Request) {
	var in map[string]string
	if err := s.Keeper.Box.Open(session.KindFlow, r.URL.Query().Get("flowtoken"), &in); err != nil || in["bulk"] == "" {
		s.Web.Refuse(w, r, web.InvalidRequest(90023, "The request is not valid."))
		return
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{"state": "CompleteSuccess", "resultData": in["bulk"]})
}

// openBulk converts a bulk token to the record of an ordinary refresh token.
func (s *Service) openBulk(b *bulkRecord) (*refreshRecord, *directory.User, error) {
	if s.Keeper.Now().Unix() >= b.Expires {
		return nil, nil, web.InvalidGrant(700082, "The refresh token has expired.").Sub("bad_token")
	}
	u := s.Keeper.Directory.UserByID(b.Package)
	if u == nil || u.Disabled {
		return nil, nil, web.InvalidGrant(50034, "The package account does not exist in the directory.")
	}
	return &refreshRecord{Client: wire.ClientBulkJoin, Issued: b.Issued, Expires: b.Expires, Session: session.Session{
		Tenant: b.Tenant, User: u.ID, Methods: claims.Methods(0), Auth: b.Issued, Epoch: u.Epoch, Gen: u.PasswordGen, SID: s.Keeper.Rand.GUID(),
	}}, u, nil
}

// bulkToken answers a request that is signed with the device key and has a bulk token
// with a plain token for device management.
func (s *Service) bulkToken(r *web.Request, u *directory.User, ss session.Session, c *verify.Claims) (any, error) {
	r.Entry.Grant = "bulk"
	client, err := s.Access.ClientApp(u.Tenant, c.ClientID)
	if err != nil {
		return nil, err
	}
	tg, err := s.Access.ResolveV1(u.Tenant, client, u, c.Resource, strings.Join(c.Scope, " "))
	if err != nil {
		return nil, err
	}
	return s.issue(issuance{Issuance: mint.Issuance{Client: client, User: u, Session: &ss}, req: r, target: tg})
}
