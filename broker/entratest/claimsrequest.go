package entratest

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// claimsRequest is what the claims parameter of a request asks for.
type claimsRequest struct {
	methods  []string // amr values: mfa, ngcmfa
	contexts []string // acrs: c1 … c99
	cae      bool     // the client announces cp1
	deviceID bool     // deviceid is essential
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

// parseClaims reads the claims parameter (OpenID Connect Core, 5.5).
func parseClaims(text string) (claimsRequest, error) {
	var out claimsRequest
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
		out.methods = append(out.methods, sec.AMR.all()...)
		out.contexts = append(out.contexts, sec.ACRS.all()...)
		for _, c := range sec.Caps.all() {
			out.cae = out.cae || strings.EqualFold(c, "cp1")
		}
		out.deviceID = out.deviceID || sec.DeviceID != nil && sec.DeviceID.Essential
	}
	for _, c := range out.contexts {
		if n := contextNumber(c); n == 0 {
			return out, web.InvalidRequest(9002313, "Invalid request. Request is malformed or invalid.").Because("authentication context %q is not c1 … c99", web.Clip(c))
		}
	}
	return out, nil
}

// contextNumber returns n of "cn", or zero.
func contextNumber(c string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(c, "c"))
	if err != nil || !strings.HasPrefix(c, "c") || n < 1 || n > 99 {
		return 0
	}
	return n
}

func (c *claimsRequest) wantsMFA() bool {
	return slices.Contains(c.methods, "mfa") || slices.Contains(c.methods, "ngcmfa")
}

func (c *claimsRequest) wantsFresh() bool { return slices.Contains(c.methods, "ngcmfa") }
