package verify

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Claims are the claims of any request JWT; absent ones are empty.
type Claims struct {
	ClientID      string
	Nonce         string // request_nonce
	Scope         []string
	GrantType     string
	Username      string
	Password      string
	RefreshToken  string
	Assertion     string
	Resource      string
	RedirectURI   string
	Issuer        string
	Audience      string
	IssuedAt      int64 // 0: absent
	Expires       int64 // 0: absent
	IsPrimary     string
	CertUse       string
	CSR           string
	CSRType       string
	DNSNames      []string
	Purpose       string
	WindowsAPI    string
	ClientVersion string
}

// HasScope reports whether the scope names s.
func (c *Claims) HasScope(s string) bool {
	for _, v := range c.Scope {
		if v == s {
			return true
		}
	}
	return false
}

// Claims decodes the payload. Members that clients are known to send as null
// count as absent, and times may be numbers or strings of digits.
func (j *JWS) Claims() (*Claims, error) {
	var in struct {
		ClientID     *string   `json:"client_id"`
		Nonce        *string   `json:"request_nonce"`
		Scope        *string   `json:"scope"`
		GrantType    *string   `json:"grant_type"`
		Username     *string   `json:"username"`
		Password     *string   `json:"password"`
		RefreshToken *string   `json:"refresh_token"`
		Assertion    *string   `json:"assertion"`
		Resource     *string   `json:"resource"`
		RedirectURI  *string   `json:"redirect_uri"`
		Issuer       *string   `json:"iss"`
		Audience     *audience `json:"aud"`
		IssuedAt     *epoch    `json:"iat"`
		Expires      *epoch    `json:"exp"`
		IsPrimary    *string   `json:"is_primary"`
		CertUse      *string   `json:"cert_token_use"`
		CSR          *string   `json:"csr"`
		CSRType      *string   `json:"csr_type"`
		DNSNames     []string  `json:"dns_names"`
		Purpose      *string   `json:"purpose"`
		WindowsAPI   *string   `json:"windows_api_version"`
		WinVer       *string   `json:"win_ver"`
	}
	if err := json.Unmarshal(j.Payload, &in); err != nil {
		return nil, fmt.Errorf("%w: claims: %v", ErrMalformed, err)
	}
	return &Claims{
		ClientID: text(in.ClientID), Nonce: text(in.Nonce), Scope: strings.Fields(text(in.Scope)),
		GrantType: text(in.GrantType), Username: text(in.Username), Password: text(in.Password),
		RefreshToken: text(in.RefreshToken), Assertion: text(in.Assertion), Resource: text(in.Resource),
		RedirectURI: text(in.RedirectURI), Issuer: text(in.Issuer), Audience: string(value(in.Audience)),
		IssuedAt: int64(value(in.IssuedAt)), Expires: int64(value(in.Expires)), IsPrimary: text(in.IsPrimary),
		CertUse: text(in.CertUse), CSR: text(in.CSR), CSRType: text(in.CSRType), DNSNames: in.DNSNames,
		Purpose: text(in.Purpose), WindowsAPI: text(in.WindowsAPI), ClientVersion: text(in.WinVer),
	}, nil
}

func text(s *string) string { return value(s) }

func value[T any](p *T) (zero T) {
	if p == nil {
		return zero
	}
	return *p
}

// epoch is a time in seconds since 1970, as a number or a string of digits.
type epoch int64

func (e *epoch) UnmarshalJSON(b []byte) error {
	s := strings.Trim(string(b), `"`)
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		f, ferr := strconv.ParseFloat(s, 64)
		if ferr != nil || !(f >= 0 && f <= 1<<53) { // NaN is neither
			return fmt.Errorf("time %.20q is not a number of seconds", s)
		}
		n = int64(f)
	}
	*e = epoch(n)
	return nil
}

// audience is a string, or an array whose first element counts.
type audience string

func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audience(one)
		return nil
	}
	var list []string
	if err := json.Unmarshal(b, &list); err != nil || len(list) == 0 {
		return fmt.Errorf("aud is neither a string nor an array of strings")
	}
	*a = audience(list[0])
	return nil
}

// PKeyAuth decodes the claims of an answer to a device challenge (MS-PKAP),
// whose nonce has a different name.
func (j *JWS) PKeyAuth() (*Claims, error) {
	var in struct {
		Audience string `json:"aud"`
		Nonce    string `json:"nonce"`
		IssuedAt *epoch `json:"iat"`
	}
	if err := json.Unmarshal(j.Payload, &in); err != nil {
		return nil, fmt.Errorf("%w: claims: %v", ErrMalformed, err)
	}
	if in.IssuedAt == nil {
		return nil, fmt.Errorf("%w: claim iat is missing", ErrMalformed)
	}
	return &Claims{Audience: in.Audience, Nonce: in.Nonce, IssuedAt: int64(*in.IssuedAt)}, nil
}
