package prt

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/strictjson"
)

// A Reply is the token endpoint's reply, v1 or v2; v1 sends numbers as strings.
// A field is zero when the reply lacks it.
type Reply struct {
	TokenType    string // "Bearer", "pop"
	AccessToken  Secret
	RefreshToken Secret // of the app, or the PRT when scope aza was asked for
	IDToken      Secret

	ExpiresIn        time.Duration // of the access token
	ExtExpiresIn     time.Duration // how much longer it serves in an outage
	RefreshIn        time.Duration // when to ask for the next one
	RefreshExpiresIn time.Duration // of the refresh token, if it goes unused
	ExpiresOn        time.Time     // v1 only
	NotBefore        time.Time     // v1 only

	Resource   string   // v1 only
	Scopes     []string // granted
	FamilyID   string   // foci: "1" for a member of the family of client ids
	ClientInfo claims.ClientInfo
	ID         *claims.Token // IDToken, read and not verified; nil without one

	DeviceTenantID string // device_tenant_id: the tenant of the device, a GUID
	// WrappedSessionKey is a new session key, WrappedKeySize bytes, for the
	// store of the transport key to unwrap. Nil: the old one stays.
	WrappedSessionKey []byte
	TGTs              []TGT
	TopLevelNames     string // names that Kerberos serves, separated by commas

	strangeClient bool // client_info is present but not readable

	// Encrypted says that the reply was encrypted under the session key, so
	// that only a holder of that key can have read it.
	Encrypted bool
}

// HomeAccountID returns the account that the reply is for, as every Microsoft
// authentication library names it: "uid.utid" of client_info. If the reply has
// no client_info, it is "oid.tid" of the id_token, which is the same for a user
// in the home tenant but different for a guest. It is empty if the reply has
// neither, or client_info is not readable.
func (r *Reply) HomeAccountID() string {
	if home := r.ClientInfo.HomeAccountID(); home != "" || r.strangeClient || r.ID == nil {
		return home
	}
	return claims.ClientInfo{UID: r.ID.ObjectID, UTID: r.ID.TenantID}.HomeAccountID()
}

// ParseNonce reads the reply to [NonceRequest].
func ParseNonce(body []byte) (string, error) {
	o, err := strictjson.Parse(body, maxHeaderSize)
	if err != nil {
		return "", badReplyErr("nonce", err)
	}
	nonce := o.String("Nonce")
	if nonce == "" || !visible(nonce) {
		return "", badReply("no nonce")
	}
	return nonce, nil
}

// ParseReply reads the reply to a request that the session signed. The reply is
// encrypted (MS-OAPXBC 3.2.5.1.3.2) or plain, whatever its Content-Type. A
// reply that holds an error is an [*ErrorReply]; one that does not decrypt is
// [ErrDecrypt].
func ParseReply(ctx context.Context, body []byte, s Session) (*Reply, error) {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	if len(body) > 0 && body[0] == '{' {
		return ParseTokens(body)
	}
	j, err := parseJWE(string(body))
	if err != nil {
		return nil, err
	}
	var o *strictjson.Object
	plain, err := s.open(ctx, j, func(b []byte) (ok bool) {
		o, err = strictjson.Parse(b, MaxReplySize)
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	r, err := readTokens(o)
	if err != nil {
		return nil, err
	}
	r.Encrypted = true
	return r, nil
}

// ParseTokens reads a plain token reply, v1 or v2, as the grants of OAuth 2.0
// return it. A reply that holds an error is an [*ErrorReply].
func ParseTokens(body []byte) (*Reply, error) {
	o, err := strictjson.Parse(body, MaxReplySize)
	if err != nil {
		return nil, badReplyErr("tokens", err)
	}
	return readTokens(o)
}

func readTokens(o *strictjson.Object) (*Reply, error) {
	if o.Has("error") {
		return nil, parseError(0, o)
	}
	r := &Reply{
		TokenType:        optional(o, "token_type", ""),
		AccessToken:      NewSecret(o.String("access_token")),
		RefreshToken:     NewSecret(o.String("refresh_token")),
		IDToken:          NewSecret(o.String("id_token")),
		ExpiresIn:        seconds(o, "expires_in"),
		ExtExpiresIn:     seconds(o, "ext_expires_in"),
		RefreshIn:        seconds(o, "refresh_in"),
		RefreshExpiresIn: seconds(o, "refresh_token_expires_in"),
		ExpiresOn:        epoch(o, "expires_on"),
		NotBefore:        epoch(o, "not_before"),
		Resource:         optional(o, "resource", ""),
		Scopes:           strings.Fields(optional(o, "scope", " ")),
		FamilyID:         text(o.Raw("foci")),
		DeviceTenantID:   optional(o, "device_tenant_id", ""),
		TopLevelNames:    optional(o, "kerberos_top_level_names", ","),
	}
	if raw := o.Raw("expires_in"); raw != nil && string(raw) != `""` {
		if _, ok := number(raw); !ok {
			return nil, badReply("expires_in is not a number") // it decides how long tokens are kept
		}
	}
	if err := r.nested(o); err != nil {
		return nil, err
	}
	if err := o.Err(); err != nil {
		return nil, badReplyErr("tokens", err)
	}
	for _, t := range []Secret{r.AccessToken, r.RefreshToken, r.IDToken} {
		if !visible(t.Reveal()) {
			return nil, badReply("a token has invalid characters")
		}
	}
	if r.AccessToken.IsZero() && r.RefreshToken.IsZero() && r.IDToken.IsZero() {
		return nil, badReply("no token")
	}
	return r, nil
}

func (r *Reply) nested(o *strictjson.Object) (err error) {
	if o.Has("client_info") {
		info, err := claims.ParseClientInfo(optional(o, "client_info", ""))
		r.ClientInfo, r.strangeClient = info, err != nil
	}
	if !r.IDToken.IsZero() {
		if r.ID, err = claims.Parse(r.IDToken.Reveal()); err != nil {
			return badReplyErr("id_token", err)
		}
	}
	if s := o.String("session_key_jwe"); s != "" {
		if r.WrappedSessionKey, err = wrappedSessionKey(s); err != nil {
			return err
		}
	}
	r.TGTs = parseTGTs(o)
	return nil
}

// visible reports whether s consists of the characters that RFC 6749 appendix A
// allows in tokens, so that it cannot break the header or form that it goes
// into.
func visible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e })
}

// text returns a member that is a string or a number as a string.
// Anything else is empty.
func text(r json.RawMessage) string {
	var s string
	if json.Unmarshal(r, &s) == nil {
		return s
	}
	var n json.Number
	if json.Unmarshal(r, &n) == nil {
		return n.String()
	}
	return ""
}

// maxSeconds bounds durations on the wire: ten years.
const maxSeconds = 10 * 365 * 24 * 60 * 60

// seconds returns a duration; 0 when it is absent or not a number. Only the
// access token's is required, and its users see that it is 0.
func seconds(o *strictjson.Object, name string) time.Duration {
	n, _ := number(o.Raw(name))
	return time.Duration(min(max(n, 0), maxSeconds) * float64(time.Second)).Truncate(time.Second)
}

// number reads a number, or a string that holds one; 0 and false when r is
// neither. ParseFloat also accepts NaN, Inf and hexadecimal digits, which do not
// count as numbers.
func number(r json.RawMessage) (n float64, ok bool) {
	s := strings.Trim(string(r), `"`)
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, false
	}
	return n, true
}

// optional reads a member that is not required: a string, or an array of
// strings joined by sep. Any other value counts as absent.
func optional(o *strictjson.Object, name, sep string) string {
	raw := o.Raw(name)
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var list []string
	if sep != "" && json.Unmarshal(raw, &list) == nil {
		return strings.Join(list, sep)
	}
	return ""
}

// maxEpoch is the last second of the year 9999.
const maxEpoch = 253402300799

func epoch(o *strictjson.Object, name string) time.Time {
	s, _ := number(o.Raw(name))
	if s <= 0 || s > maxEpoch {
		return time.Time{}
	}
	return time.Unix(int64(s), 0).UTC()
}

// Expiry returns when the access token expires, given that the reply came at
// now: by ExpiresIn, which does not need synchronised clocks, otherwise by
// ExpiresOn; zero when the reply says neither.
func (r *Reply) Expiry(now time.Time) time.Time {
	if r.ExpiresIn > 0 {
		return now.Add(r.ExpiresIn)
	}
	return r.ExpiresOn
}

// An Issuance is a new PRT and its session key.
type Issuance struct {
	Token *Token // complete but for SessionKey, which the caller sets
	// WrappedSessionKey is the session key, WrappedKeySize bytes, encrypted to
	// the transport key with RSA-OAEP under SHA-1.
	WrappedSessionKey []byte
	Reply             *Reply
}

// ParseIssuance reads the reply to req (MS-OAPXBC 3.2.5.1.2.3), which came at
// now. The reply is plain JSON; others cannot use it, because only the
// transport key unwraps the session key. A reply that holds an error is an
// [*ErrorReply].
func ParseIssuance(body []byte, req PRTRequest, now time.Time) (*Issuance, error) {
	r, err := ParseTokens(body)
	switch {
	case err != nil:
		return nil, err
	case r.RefreshToken.IsZero():
		return nil, badReply("no PRT")
	case r.strangeClient: // the account is named by it
		return nil, badReply("client_info is not readable")
	case r.WrappedSessionKey == nil:
		return nil, badReply("no session_key_jwe")
	case r.TokenType != "" && !strings.EqualFold(r.TokenType, "pop") && !strings.EqualFold(r.TokenType, "Bearer"):
		return nil, badReply("a PRT of an unknown token_type")
	}
	return &Issuance{
		Token:             newToken(r, req, now),
		WrappedSessionKey: r.WrappedSessionKey,
		Reply:             r,
	}, nil
}
