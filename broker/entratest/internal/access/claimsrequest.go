package access

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// ClaimsRequest is what the claims parameter of a request asks for.
type ClaimsRequest struct {
	Methods  []string // amr values: mfa, ngcmfa
	Contexts []string // acrs: c1 … c99
	CAE      bool     // the client announces cp1
	DeviceID bool     // deviceid is essential
}

type claimValue struct {
	Essential bool     `json:"essential"`
	Value     string   `json:"value"`
	Values    []string `json:"values"`
}

func (v *claimValue) all() []string {
	if v == nil {
		return nil
	}
	if v.Value != "" {
		return append([]string{v.Value}, v.Values...)
	}
	return v.Values
}

// ParseClaims reads the claims parameter (OpenID Connect Core, 5.5).
func ParseClaims(text string) (ClaimsRequest, error) {
	var out ClaimsRequest
	if text == "" {
		return out, nil
	}
	type section struct {
		AMR      *claimValue `json:"amr"`
		ACRS     *claimValue `json:"acrs"`
		Caps     *claimValue `json:"xms_cc"`
		DeviceID *claimValue `json:"deviceid"`
	}
	var in struct {
		Access *section `json:"access_token"`
		ID     *section `json:"id_token"`
	}
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return out, web.InvalidRequest(9002313, "Invalid request. Request is malformed or invalid.").Because("parameter claims is not a claims request: %v", err)
	}
	for _, sec := range []*section{in.Access, in.ID} {
		if sec == nil {
			continue
		}
		out.Methods = append(out.Methods, sec.AMR.all()...)
		out.Contexts = append(out.Contexts, sec.ACRS.all()...)
		for _, c := range sec.Caps.all() {
			out.CAE = out.CAE || strings.EqualFold(c, "cp1")
		}
		out.DeviceID = out.DeviceID || sec.DeviceID != nil && sec.DeviceID.Essential
	}
	for _, c := range out.Contexts {
		if n := ContextNumber(c); n == 0 {
			return out, web.InvalidRequest(9002313, "Invalid request. Request is malformed or invalid.").Because("authentication context %q is not c1 … c99", web.Clip(c))
		}
	}
	return out, nil
}

// ContextNumber returns n of "cn", or zero.
func ContextNumber(c string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(c, "c"))
	if err != nil || !strings.HasPrefix(c, "c") || n < 1 || n > 99 {
		return 0
	}
	return n
}

// WantsMFA reports whether the request asks for a sign-in with MFA.
func (c *ClaimsRequest) WantsMFA() bool {
	return slices.Contains(c.Methods, "mfa") || slices.Contains(c.Methods, "ngcmfa")
}

// WantsFresh reports whether the request asks for recent MFA.
func (c *ClaimsRequest) WantsFresh() bool { return slices.Contains(c.Methods, "ngcmfa") }
