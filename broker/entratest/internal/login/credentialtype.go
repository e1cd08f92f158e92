package login

import (
	"encoding/json"
	"net/http"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/adfs"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/internal/wire"
)

// credentialType tells the sign-in page which credentials a user has.
func (s *Pages) credentialType(w http.ResponseWriter, r *web.Request) {
	var in struct {
		Username        string `json:"username"`
		AccessPass      *bool  `json:"isAccessPassSupported"`
		RemoteNGC       bool   `json:"isRemoteNGCSupported"`
		Fido            bool   `json:"isFidoSupported"`
		OriginalRequest string `json:"originalRequest"`
		FlowToken       string `json:"flowToken"`
	}
	if err := json.Unmarshal(r.Data, &in); err != nil || in.Username == "" {
		s.Web.Mistake(r, "GetCredentialType needs a JSON object with a username")
		web.WriteJSON(w, http.StatusOK, map[string]any{"error": map[string]any{"code": "6000", "message": "Invalid request"}})
		return
	}
	if in.AccessPass != nil && *in.AccessPass && in.OriginalRequest == "" {
		s.Web.Mistake(r, "isAccessPassSupported is taken only with originalRequest")
		web.WriteJSON(w, http.StatusOK, map[string]any{"error": map[string]any{"code": "6000", "message": "Invalid request"}})
		return
	}
	u, t := s.Keeper.Directory.User(in.Username), s.Keeper.Directory.TenantOf(in.Username)
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
		p := s.Keeper.NewPrompt(u, session.PromptSignIn, s.appName(in.OriginalRequest))
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
		"FlowToken":      in.FlowToken, "apiCanary": s.Keeper.Box.Seal(session.KindFlow, wire.PathGetCredential),
	})
}

// flowOf returns the sealed flow that a page was shown for, with the user name that is
// now known; "" if the page names no flow.
func (s *Pages) flowOf(context, username string) string {
	fl, err := s.Keeper.OpenFlow(context)
	if err != nil {
		return ""
	}
	fl.Username = username
	return s.Keeper.SealFlow(fl)
}
