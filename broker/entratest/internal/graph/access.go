package graph

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
	"unicode/utf16"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

// alternativeSecurityID returns the directory's identifier of a device's certificate:
// base64 of the UTF-16 of a tag, its thumbprint and the hash of its key.
func alternativeSecurityID(dev *directory.Device) string {
	text := "X509:<SHA1-TP-PUBKEY>" + dev.CertSHA1 + base64.StdEncoding.EncodeToString(dev.CertSHA256[:])
	var out []byte
	for _, c := range utf16.Encode([]rune(text)) {
		out = append(out, byte(c), byte(c>>8))
	}
	return base64.StdEncoding.EncodeToString(out)
}

var policyScopes = []string{"Policy.Read.All", "Policy.Read.ConditionalAccess", "Policy.ReadWrite.ConditionalAccess"}

func (s *Service) policies(w http.ResponseWriter, r *web.Request) {
	_, self, ok := s.bearer(w, r, policyScopes...)
	if !ok {
		return
	}
	list := []policy.Policy{}
	if rules := s.Keeper.Directory.AccessRules(self.Tenant); rules != nil {
		list = rules.Bundle.Policies
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{
		"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#identity/conditionalAccess/policies", "value": list})
}

func (s *Service) locations(w http.ResponseWriter, r *web.Request) {
	_, self, ok := s.bearer(w, r, policyScopes...)
	if !ok {
		return
	}
	list := []any{}
	if rules := s.Keeper.Directory.AccessRules(self.Tenant); rules != nil {
		for _, l := range rules.Bundle.Locations {
			list = append(list, locationJSON(l))
		}
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{
		"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#identity/conditionalAccess/namedLocations", "value": list})
}

// strengths lists the built-in strengths and those of the policies.
func (s *Service) strengths(w http.ResponseWriter, r *web.Request) {
	_, self, ok := s.bearer(w, r, "Policy.Read.All", "Policy.Read.AuthenticationMethod", "Policy.ReadWrite.ConditionalAccess", "Policy.ReadWrite.AuthenticationMethod")
	if !ok {
		return
	}
	list := policy.BuiltInStrengths()
	if rules := s.Keeper.Directory.AccessRules(self.Tenant); rules != nil {
		list = append(list, rules.Bundle.Strengths...)
	}
	web.WriteJSON(w, http.StatusOK, map[string]any{
		"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#policies/authenticationStrengthPolicies", "value": list})
}

func locationJSON(l policy.NamedLocation) any {
	if l.Kind != policy.IPLocation {
		return l
	}
	ranges := []map[string]string{}
	for _, text := range l.Ranges {
		v := "4"
		if strings.Contains(text, ":") {
			v = "6"
		}
		if lower, upper, ok := strings.Cut(text, "-"); ok {
			ranges = append(ranges, map[string]string{"@odata.type": "#microsoft.graph.iPv" + v + "Range", "lowerAddress": lower, "upperAddress": upper})
			continue
		}
		ranges = append(ranges, map[string]string{"@odata.type": "#microsoft.graph.iPv" + v + "CidrRange", "cidrAddress": text})
	}
	return map[string]any{"@odata.type": l.Kind, "id": l.ID, "displayName": l.DisplayName, "isTrusted": l.IsTrusted, "ipRanges": ranges}
}

// whatIf is the body of conditionalAccessRoot: evaluate.
type whatIf struct {
	Identity struct {
		UserID string `json:"userId"`
	} `json:"signInIdentity"`
	Context struct {
		Apps        []string `json:"includeApplications"`
		Action      string   `json:"userAction"`
		AuthContext string   `json:"authenticationContextValue"`
	} `json:"signInContext"`
	Conditions struct {
		Platform   string `json:"devicePlatform"`
		ClientApp  string `json:"clientAppType"`
		SignInRisk string `json:"signInRiskLevel"`
		UserRisk   string `json:"userRiskLevel"`
		Country    string `json:"country"`
		IP         string `json:"ipAddress"`
		Flow       struct {
			Method string `json:"transferMethod"`
		} `json:"authenticationFlow"`
		Device *struct {
			DeviceID    string `json:"deviceId"`
			IsCompliant bool   `json:"isCompliant"`
			TrustType   string `json:"trustType"`
			OS          string `json:"operatingSystem"`
		} `json:"deviceInfo"`
	} `json:"signInConditions"`
	AppliedOnly bool `json:"appliedPoliciesOnly"`
}

// evaluate is the What If API, backed by the policy engine.
func (s *Service) evaluate(w http.ResponseWriter, r *web.Request) {
	_, self, ok := s.bearer(w, r, policyScopes...)
	if !ok {
		return
	}
	var in whatIf
	if err := json.Unmarshal(r.Data, &in); err != nil {
		refuse(w, http.StatusBadRequest, "BadRequest", "Unable to read JSON request payload.")
		return
	}
	u := s.Keeper.Directory.UserByID(in.Identity.UserID)
	if u == nil || u.Tenant != self.Tenant {
		refuse(w, http.StatusBadRequest, "BadRequest", "The user of signInIdentity was not found.")
		return
	}
	rules := s.Keeper.Directory.AccessRules(self.Tenant)
	if rules == nil {
		web.WriteJSON(w, http.StatusOK, policy.Explanation{})
		return
	}
	q, err := s.whatIfSignIn(&in, u)
	if err != nil {
		refuse(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	ex := rules.Full.Explain(q)
	if in.AppliedOnly {
		ex.Policies = ex.Applied()
	}
	web.WriteJSON(w, http.StatusOK, ex)
}

func (s *Service) whatIfSignIn(in *whatIf, u *directory.User) (*policy.SignIn, error) {
	now := s.Keeper.Now()
	q := &policy.SignIn{
		User:      &policy.User{ID: u.ID, Groups: s.Keeper.Directory.GroupsOf(u), Roles: u.Roles},
		ClientApp: policy.ClientBrowser, Country: in.Conditions.Country, Methods: claims.Password, Now: now, AuthTime: now,
	}
	var err error
	if q.UserRisk, err = directory.RiskLevel(in.Conditions.UserRisk); err != nil {
		return nil, err
	}
	if q.SignInRisk, err = directory.RiskLevel(in.Conditions.SignInRisk); err != nil {
		return nil, err
	}
	if in.Conditions.IP != "" {
		if q.IP, err = netip.ParseAddr(in.Conditions.IP); err != nil {
			return nil, err
		}
	}
	switch in.Conditions.ClientApp {
	case "mobileAppsAndDesktopClients":
		q.ClientApp = policy.ClientMobileOrDesktop
	case "exchangeActiveSync":
		q.ClientApp = policy.ClientExchangeActiveSync
	case "other":
		q.ClientApp = policy.ClientOther
	}
	for p, name := range access.PlatformNames {
		if strings.EqualFold(name, in.Conditions.Platform) {
			q.Platform = p
		}
	}
	switch in.Conditions.Flow.Method {
	case "deviceCodeFlow":
		q.Flow = policy.TransferDeviceCode
	case "authenticationTransfer":
		q.Flow = policy.TransferAuthentication
	}
	if d := in.Conditions.Device; d != nil {
		q.Device = &policy.Device{ID: d.DeviceID, OperatingSystem: d.OS, Compliant: claims.No, TrustType: trustType(d.TrustType)}
		if d.IsCompliant {
			q.Device.Compliant = claims.Yes
		}
	}
	switch {
	case in.Context.Action == "registerSecurityInformation":
		q.Action = policy.ActionRegisterSecurityInfo
	case in.Context.Action == "registerOrJoinDevices":
		q.Action = policy.ActionRegisterDevice
	case in.Context.AuthContext != "":
		q.AuthContext = access.ContextNumber(in.Context.AuthContext)
	case len(in.Context.Apps) > 0:
		q.AppID = in.Context.Apps[0]
	}
	return q, nil
}

func trustType(s string) policy.TrustType {
	switch strings.ToLower(s) {
	case "azuread", "entraid", "entra id":
		return policy.TrustJoined
	case "serverad":
		return policy.TrustHybrid
	case "workplace":
		return policy.TrustRegistered
	}
	return policy.TrustNone
}
