package entratest

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/adfs"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/internal/wire"
)

const (
	cloudName = "microsoftonline.com"
)

func (s *Server) userRealm(w http.ResponseWriter, r *web.Request) {
	upn := r.Vars["upn"]
	if r.URL.Query().Get("api-version") == "2.0" {
		s.userRealmV2(w, r, upn)
		return
	}
	_, domain, _ := strings.Cut(upn, "@")
	t := s.dir.TenantOf(upn)
	out := map[string]string{
		"ver": "1.0", "account_type": "Unknown", "cloud_instance_name": cloudName, "cloud_audience_urn": adfs.CloudAudience,
	}
	switch {
	case t == nil:
	case t.IsFederated(upn):
		base := "https://" + directory.FederationHost(strings.ToLower(domain)) + "/adfs/services/trust/"
		out["account_type"], out["domain_name"] = "Federated", domain
		out["federation_protocol"] = "WSTrust"
		out["federation_metadata_url"] = base + "mex"
		out["federation_active_auth_url"] = base + "2005/usernamemixed"
	default:
		out["account_type"], out["domain_name"] = "Managed", domain
	}
	web.WriteJSON(w, http.StatusOK, out)
}

func (s *Server) userRealmV2(w http.ResponseWriter, _ *web.Request, upn string) {
	_, domain, _ := strings.Cut(upn, "@")
	t := s.dir.TenantOf(upn)
	out := map[string]any{"NameSpaceType": "Unknown", "Login": upn, "DomainName": domain, "cloud_instance_name": cloudName}
	if t != nil {
		out["NameSpaceType"], out["FederationBrandName"], out["TenantBrandingInfo"] = "Managed", t.Name, nil
		if t.IsFederated(upn) {
			out["NameSpaceType"], out["federation_protocol"] = "Federated", "WSTrust"
			out["AuthURL"] = "https://" + directory.FederationHost(strings.ToLower(domain)) + "/adfs/ls/"
		}
	}
	web.WriteJSON(w, http.StatusOK, out)
}

// userRealmSRF is the older form of the same question.
func (s *Server) userRealmSRF(w http.ResponseWriter, r *web.Request) {
	s.userRealmV2(w, r, r.URL.Query().Get("login"))
}

// credentialType tells the sign-in page which credentials a user has.
func (s *Server) credentialType(w http.ResponseWriter, r *web.Request) {
	var in struct {
		Username        string `json:"username"`
		AccessPass      *bool  `json:"isAccessPassSupported"`
		RemoteNGC       bool   `json:"isRemoteNGCSupported"`
		Fido            bool   `json:"isFidoSupported"`
		OriginalRequest string `json:"originalRequest"`
		FlowToken       string `json:"flowToken"`
	}
	if err := json.Unmarshal(r.Data, &in); err != nil || in.Username == "" {
		s.web.Mistake(r, "GetCredentialType needs a JSON object with a username")
		web.WriteJSON(w, http.StatusOK, map[string]any{"error": map[string]any{"code": "6000", "message": "Invalid request"}})
		return
	}
	if in.AccessPass != nil && *in.AccessPass && in.OriginalRequest == "" {
		s.web.Mistake(r, "isAccessPassSupported is taken only with originalRequest")
		web.WriteJSON(w, http.StatusOK, map[string]any{"error": map[string]any{"code": "6000", "message": "Invalid request"}})
		return
	}
	u, t := s.dir.User(in.Username), s.dir.TenantOf(in.Username)
	creds := map[string]any{
		"PrefCredential": 1, "HasPassword": u == nil || u.Password != "", "RemoteNgcParams": nil, "FidoParams": nil,
		"HasCertAuth": true, "CertAuthParams": certAuthParams(&session.Flow{}),
		"SasParams": nil, "HasAccessPass": u != nil && u.HasAccessPass(),
		"HasFido": u != nil && len(u.Passkeys) > 0, "HasRemoteNGC": u != nil && u.PhoneSignIn,
	}
	domainType := 3
	if t != nil && t.IsFederated(in.Username) {
		domainType = 4
		creds["PrefCredential"] = 4
		creds["FederationRedirectUrl"] = adfs.URL(in.Username, s.flowOf(in.OriginalRequest, in.Username))
	}
	if in.Fido && u != nil && len(u.Passkeys) > 0 {
		creds["FidoParams"] = map[string]any{"AllowList": u.PasskeyIDs(), "HasCrossDeviceCapablePasskey": false}
	}
	if in.RemoteNGC && u != nil && u.PhoneSignIn && !u.Disabled {
		p := s.keeper.NewPrompt(u, session.PromptSignIn, s.appOf(in.OriginalRequest))
		creds["PrefCredential"], creds["RemoteNgcParams"] = 2, map[string]any{
			"SessionIdentifier": s.phoneSession(p), "Entropy": p.Number, "DefaultType": 2, "ProofUpRedirectUrl": nil}
	}
	exists := 1
	if u != nil {
		exists = 0
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{
		"Username": in.Username, "Display": in.Username, "IfExistsResult": exists, "ThrottleStatus": 0,
		"Credentials":    creds,
		"EstsProperties": map[string]any{"DomainType": domainType, "UserTenantBranding": nil},
		"FlowToken":      in.FlowToken, "apiCanary": s.keeper.Box.Seal(session.KindFlow, wire.PathGetCredential),
	})
}

// flowOf is the sealed flow that a page was shown for, with the user that it now
// knows; "" when the page names none.
func (s *Server) flowOf(context, username string) string {
	fl, err := s.keeper.OpenFlow(context)
	if err != nil {
		return ""
	}
	fl.Username = username
	return s.keeper.SealFlow(fl)
}
