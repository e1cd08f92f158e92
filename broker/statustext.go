package broker

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
)

// statusText builds the layout of `dsregcmd /status`, which the Entra
// documentation "Troubleshoot devices using the dsregcmd command" describes:
// boxes with a title, and lines with a label that is aligned to the right.
type statusText struct{ strings.Builder }

const (
	boxWidth   = 70
	labelWidth = 26
)

func (t *statusText) section(title string) {
	line := "+" + strings.Repeat("-", boxWidth) + "+\n"
	fmt.Fprintf(t, "%s| %-*s |\n%s\n", line, boxWidth-2, title, line)
}

func (t *statusText) line(label, value string) {
	fmt.Fprintf(t, "%*s : %s\n", labelWidth, label, value)
}

// optional leaves out a line that would be empty.
func (t *statusText) optional(label, value string) {
	if value != "" {
		t.line(label, value)
	}
}

func (t *statusText) end() { t.WriteString("\n") }

func yesNo(b bool) string {
	if b {
		return "YES"
	}
	return "NO"
}

func stamp(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format("2006-01-02 15:04:05.000 UTC")
}

// String returns the sections of `dsregcmd /status` that apply here. A failed
// attempt is shown while it is newer than the last success. MfaClaim and the
// lines that follow it, KeyProtection, and NgcProtection and the lines that
// follow it except CanReset, are our own additions.
func (s Status) String() string {
	var t statusText
	s.deviceState(&t)
	if s.Registered {
		s.deviceDetails(&t)
		s.tenantDetails(&t)
	}
	s.userState(&t)
	s.ssoState(&t)
	if s.Problem != "" {
		t.section("Diagnostic Data")
		t.line("Problem", s.Problem)
		t.end()
	}
	return t.String()
}

func (s Status) deviceState(t *statusText) {
	joined := s.Registered && s.Device.JoinType != prt.JoinPersonal
	t.section("Device State")
	t.line("AzureAdJoined", yesNo(joined))
	t.line("EnterpriseJoined", "NO")
	t.line("DomainJoined", yesNo(s.Registered && s.Device.JoinType == prt.JoinHybrid))
	t.optional("Device Name", s.Device.DisplayName)
	t.end()
}

func (s Status) deviceDetails(t *statusText) {
	d := s.Device
	t.section("Device Details")
	t.line("DeviceId", d.ID)
	t.line("Thumbprint", d.Thumbprint)
	t.line("DeviceCertificateValidity", "[ "+stamp(d.NotBefore)+" -- "+stamp(d.NotAfter)+" ]")
	t.line("CertificateValid", yesNo(!s.Time.Before(d.NotBefore) && s.Time.Before(d.NotAfter)))
	t.line("KeyProvider", s.provider())
	t.line("TpmProtected", yesNo(s.Protection.Hardware))
	t.line("KeyProtection", s.protection())
	t.optional("DeviceRegion", d.Region)
	t.line("DeviceAuthStatus", "NOT CHECKED")
	t.end()
}

func (s Status) provider() string {
	if s.Protection.Hardware {
		return "Platform Crypto Provider (TPM 2.0)"
	}
	return "Software Key Storage Provider"
}

func (s Status) protection() string {
	i := s.Protection
	if !i.Hardware {
		return "software keys (" + i.Backend + "): anyone who reads the files has the keys"
	}
	parts := []string{"TPM", aadsts.Clean(i.Manufacturer), aadsts.Clean(i.Model), aadsts.Clean(i.Firmware)}
	return strings.Join(strings.Fields(strings.Join(parts, " ")), " ")
}

func (s Status) tenantDetails(t *statusText) {
	n := s.Tenant
	t.section("Tenant Details")
	t.optional("TenantName", n.Name)
	t.line("TenantId", n.ID)
	t.line("Idp", n.Idp)
	t.optional("AuthCodeUrl", n.AuthCodeURL)
	t.optional("AccessTokenUrl", n.TokenURL)
	for _, e := range []struct {
		name     string
		endpoint ServiceEndpoint
	}{{"Join", n.Join}, {"Key", n.Key}, {"WebAuthN", n.WebAuthN}} {
		t.optional(e.name+"SrvVersion", e.endpoint.Version)
		t.optional(e.name+"SrvUrl", e.endpoint.URL)
		t.optional(e.name+"SrvId", e.endpoint.ID)
	}
	t.optional("DeviceManagementSrvVer", n.Manage.Version)
	t.optional("DeviceManagementSrvUrl", n.Manage.URL)
	t.optional("DeviceManagementSrvId", n.Manage.ID)
	t.end()
}

func (s Status) userState(t *statusText) {
	t.section("User State")
	t.line("NgcSet", yesNo(len(s.Hello) > 0))
	for _, h := range s.Hello {
		if len(s.Accounts) > 1 {
			t.line("NgcUser", h.Account.PreferredUsername)
		}
		t.line("NgcKeyId", "{"+strings.ToUpper(h.KeyID)+"}")
		t.line("NgcProtection", h.protection())
		t.line("CanReset", "DestructiveOnly") // ResetPIN makes a new key
		if h.Unknown {
			t.line("NgcKnown", "NO")
		}
		if h.RetryAfter > 0 {
			t.line("NgcRetryAfter", h.RetryAfter.String())
		}
		if h.Locked {
			t.line("Locked", "YES")
		}
	}
	t.line("WorkplaceJoined", yesNo(s.Registered && s.Device.JoinType == prt.JoinPersonal))
	t.line("WamDefaultSet", yesNo(len(s.Accounts) > 0))
	for _, a := range s.Accounts {
		t.line("Account", a.PreferredUsername)
	}
	t.end()
}

func (h HelloStatus) protection() string {
	if h.Software {
		return "software key: only this program counts wrong PINs"
	}
	return "TPM, which counts wrong PINs"
}

func (s Status) ssoState(t *statusText) {
	t.section("SSO State")
	if len(s.PRTs) == 0 {
		t.line("AzureAdPrt", "NO")
	}
	for i, p := range s.PRTs {
		if i > 0 {
			t.end()
		}
		s.prtState(t, p)
		p.Failed.lines(t)
	}
	if s.Failed != nil && len(s.PRTs) > 0 {
		t.end()
	}
	s.Failed.lines(t)
	t.end()
}

func (s Status) prtState(t *statusText, p PRTStatus) {
	usable := p.State == PRTFresh || p.State == PRTNeedsRenewal
	if len(s.PRTs) > 1 {
		t.line("User Identity", p.Account.PreferredUsername)
	}
	t.line("AzureAdPrt", yesNo(usable))
	if p.State == PRTNone {
		return
	}
	t.line("AzureAdPrtUpdateTime", stamp(p.RenewedOn))
	t.line("AzureAdPrtExpiryTime", stamp(p.ExpiresOn))
	t.line("AzureAdPrtAuthority", s.Tenant.PRTAuthority)
	t.line("PrtState", strings.ToUpper(string(p.State)))
	t.line("PrtNextRenewal", stamp(p.RenewOn))
	t.line("Credential Type", string(p.Credential))
	t.line("SessionKey", yesNo(p.SessionKey))
	t.line("MfaClaim", strings.ToUpper(p.MFA.MFA.String()))
	t.optional("MfaMethods", p.MFA.Methods.String())
	t.optional("MfaTime", stamp(p.MFA.At))
	t.optional("MfaSource", string(p.MFA.Source))
	if p.LastError != 0 && p.Failed == nil {
		t.line("Attempt Status", fmt.Sprintf("AADSTS%d", p.LastError))
	}
}

// lines shows a failed attempt as dsregcmd does. Attempt Status is an HRESULT
// there, and the AADSTS code here.
func (a *Attempt) lines(t *statusText) {
	if a == nil {
		return
	}
	if a.Renewal {
		t.line("RefreshPrtDiagnostics", "PRESENT")
	} else {
		t.line("AcquirePrtDiagnostics", "PRESENT")
	}
	t.line("Previous Prt Attempt", stamp(a.Time))
	status, description := "failed", a.Description
	if a.Code != 0 {
		status = fmt.Sprintf("AADSTS%d", a.Code)
		description = status + ": " + description
	}
	t.line("Attempt Status", status)
	t.optional("User Identity", a.Username)
	t.optional("Credential Type", string(a.Credential))
	t.optional("Correlation ID", a.CorrelationID)
	t.line("Endpoint URI", a.Endpoint)
	t.line("HTTP Method", a.Method)
	if a.HTTPError != "" {
		t.line("HTTP Error", a.HTTPError)
	} else {
		t.line("HTTP Error", "0x0")
	}
	t.line("HTTP status", strconv.Itoa(a.HTTPStatus))
	t.optional("Server Error Code", aadsts.Clean(a.ErrorCode))
	t.optional("Server Error Description", strings.TrimSuffix(description, ": "))
}
