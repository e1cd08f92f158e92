package claims

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/internal/strictjson"
)

// MaxTokenSize is the size, in bytes, of the largest token that [Parse] reads.
// Entra stops listing groups (overage) long before.
const MaxTokenSize = 256 << 10

// ErrMalformed is wrapped by every error of [Parse].
var ErrMalformed = errors.New("malformed token")

// A Token is what an ID token or an access token of Entra says, version 1.0 or
// 2.0. Reading it verifies nothing: a caller that relies on it must get it from
// the token endpoint over TLS, or verify it with package claims/verify.
//
// A field is zero when the token lacks the claim.
type Token struct {
	Algorithm string // header alg; "none" in the id_token of a PRT reply
	KeyID     string // header kid
	Type      string // header typ

	Version   string   // ver: "1.0" or "2.0"
	Issuer    string   // iss
	Audience  []string // aud; one entry in the tokens of Entra
	Subject   string   // sub
	ID        string   // uti: names this token in the service's logs
	SessionID string   // sid
	Nonce     string   // nonce

	TenantID          string // tid
	ObjectID          string // oid; with TenantID the immutable key of a user
	Username          string // upn, preferred_username or unique_name; it changes
	Name              string // name
	SID               string // primary_sid
	OnPremSID         string // onprem_sid
	ClientID          string // azp (v2) or appid (v1)
	ClientAuth        string // azpacr or appidacr: "0" public, "1" secret, "2" certificate
	IdentityProvider  string // idp
	DeviceID          string // deviceid, lower case
	ConfirmationKeyID string // cnf.kid, of a proof-of-possession token

	Scopes       []string // scp
	Roles        []string // roles
	RoleIDs      []string // wids: template ids of directory roles
	Contexts     []string // acrs: authentication contexts that were met
	Capabilities []string // xms_cc
	SignInState  []string // signin_state: dvc_mngd, dvc_cmp, dvc_dmjd, kmsi, inknownntwk

	IssuedAt   time.Time // iat
	NotBefore  time.Time // nbf
	Expires    time.Time // exp
	AuthTime   time.Time // auth_time
	PwdExpires time.Time // pwd_exp: when the password expires

	// AMR is the amr claim; nil when the token has none, which says nothing
	// about MFA.
	AMR []string
	// HasAMR tells an amr claim without values from a missing one.
	HasAMR bool
	// Methods is what AMR says.
	Methods Methods
}

// Parse reads a token in the JWS compact serialisation without verifying it.
// It refuses duplicate members, invalid UTF-8 and tokens larger than
// [MaxTokenSize]. The signature may be empty. Errors wrap [ErrMalformed] and
// name a part or a claim, never a value.
func Parse(token string) (*Token, error) {
	header, payload, err := split(token)
	if err != nil {
		return nil, err
	}
	t := &Token{
		Algorithm: header.String("alg"),
		KeyID:     header.String("kid"),
		Type:      header.String("typ"),
	}
	if err := header.Err(); err != nil {
		return nil, malformed("header " + err.Error())
	}
	t.identity(payload)
	t.authorization(payload)
	t.authentication(payload)
	if err := payload.Err(); err != nil {
		return nil, malformed(err.Error())
	}
	return t, nil
}

func split(token string) (header, payload *strictjson.Object, err error) {
	if len(token) > MaxTokenSize {
		return nil, nil, malformed("too large")
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, nil, malformed("not three parts")
	}
	if header, err = part(parts[0]); err != nil {
		return nil, nil, malformed("header: " + err.Error())
	}
	if payload, err = part(parts[1]); err != nil {
		return nil, nil, malformed("payload: " + err.Error())
	}
	if _, err := decode(parts[2]); err != nil {
		return nil, nil, malformed("signature: " + err.Error())
	}
	return header, payload, nil
}

func part(s string) (*strictjson.Object, error) {
	b, err := decode(s)
	if err != nil {
		return nil, err
	}
	return strictjson.Parse(b, MaxTokenSize)
}

// decode decodes base64url without padding. encoding/base64 skips line breaks;
// here a value has one encoding only.
func decode(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("not base64url")
	}
	return b, nil
}

func malformed(what string) error { return fmt.Errorf("claims: %w: %s", ErrMalformed, what) }

func (t *Token) identity(o *strictjson.Object) {
	t.Version = o.String("ver")
	t.Issuer = o.String("iss")
	t.Audience = o.Strings("aud")
	t.Subject = o.String("sub")
	t.ID = o.String("uti")
	t.SessionID = o.String("sid")
	t.Nonce = o.String("nonce")
	t.TenantID = o.String("tid")
	t.ObjectID = o.String("oid")
	t.Username = first(o.String("upn"), o.String("preferred_username"), o.String("unique_name"))
	t.Name = o.String("name")
	t.SID = o.String("primary_sid")
	t.OnPremSID = o.String("onprem_sid")
	t.IdentityProvider = o.String("idp")
	t.DeviceID = strings.ToLower(o.String("deviceid"))
}

func (t *Token) authorization(o *strictjson.Object) {
	t.ClientID = first(o.String("azp"), o.String("appid"))
	t.ClientAuth = first(o.String("azpacr"), o.String("appidacr"))
	t.Scopes = strings.Fields(o.String("scp"))
	t.Roles = o.Strings("roles")
	t.RoleIDs = o.Strings("wids")
	t.Contexts = o.Strings("acrs")
	t.Capabilities = o.Strings("xms_cc")
	t.SignInState = o.Strings("signin_state")
	if cnf := o.Object("cnf"); cnf != nil {
		t.ConfirmationKeyID = cnf.String("kid")
	}
}

func (t *Token) authentication(o *strictjson.Object) {
	t.IssuedAt = unix(o.Int("iat"))
	t.NotBefore = unix(o.Int("nbf"))
	t.Expires = unix(o.Int("exp"))
	t.AuthTime = unix(o.Int("auth_time"))
	if s := o.Int("pwd_exp"); s > 0 && s < 1<<31 && !t.IssuedAt.IsZero() {
		t.PwdExpires = t.IssuedAt.Add(time.Duration(s) * time.Second)
	}
	t.AMR = o.Strings("amr")
	t.HasAMR = o.Has("amr")
	t.Methods, _ = FromAMR(t.AMR)
}

func first(s ...string) string {
	for _, v := range s {
		if v != "" {
			return v
		}
	}
	return ""
}

// maxUnix is the last second of the year 9999, beyond which a time.Time does
// not marshal.
const maxUnix = 253402300799

func unix(s int64) time.Time {
	if s <= 0 || s > maxUnix {
		return time.Time{}
	}
	return time.Unix(s, 0).UTC()
}

// Evidence returns what the token says about the authentication. Without an amr
// claim, as in most v2 tokens, MFA is Unknown. The time of MFA is auth_time, if
// the token has it: the time of issuance does not say when the user
// authenticated.
func (t *Token) Evidence(from Source) Evidence {
	e := Evidence{AuthTime: t.AuthTime, DeviceID: t.DeviceID}
	if !t.HasAMR {
		return e
	}
	e.Source, e.TokenID, e.Methods = from, t.ID, t.Methods
	if e.MFA = No; t.Methods.MFA() {
		e.MFA, e.At = Yes, t.AuthTime
	}
	return e
}

// ClientInfo is the client_info member of a token reply: the user's object id
// and home tenant.
type ClientInfo struct {
	UID  string // uid
	UTID string // utid
}

// ParseClientInfo reads client_info, base64url of a JSON object. Padding is
// accepted.
func ParseClientInfo(s string) (ClientInfo, error) {
	if len(s) > MaxTokenSize {
		return ClientInfo{}, malformed("client_info too large")
	}
	o, err := part(strings.TrimRight(s, "="))
	if err != nil {
		return ClientInfo{}, malformed("client_info: " + err.Error())
	}
	c := ClientInfo{UID: o.String("uid"), UTID: o.String("utid")}
	if err := o.Err(); err != nil {
		return ClientInfo{}, malformed("client_info " + err.Error())
	}
	return c, nil
}

// HomeAccountID returns uid.utid, the key of an account in every cache of a
// Microsoft authentication library; empty when either is missing.
func (c ClientInfo) HomeAccountID() string {
	if c.UID == "" || c.UTID == "" {
		return ""
	}
	return c.UID + "." + c.UTID
}
