package prt

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/secret"
	"github.com/prtbroker/prtbroker/internal/strictjson"
)

// tokenFormat is the version of the serialised form. Members may be added at
// the top level without a new version: a reader keeps those that it does not
// know and writes them back. A change that an older reader would get wrong
// needs a new version, which that reader refuses.
const tokenFormat = 1

// MaxTokenSize is the size, in bytes, of the largest serialised Token.
const MaxTokenSize = 1 << 20

type tokenJSON struct {
	Version       int             `json:"v"`
	PRT           string          `json:"prt"`
	Protocol      Protocol        `json:"protocol,omitempty"`
	KDF           int             `json:"kdf"`
	ClientID      string          `json:"client_id,omitempty"`
	TenantID      string          `json:"tenant_id,omitempty"`
	UserID        string          `json:"user_id,omitempty"`
	HomeID        string          `json:"home_id,omitempty"`
	Username      string          `json:"username,omitempty"`
	Name          string          `json:"name,omitempty"`
	DeviceID      string          `json:"device_id,omitempty"`
	Credential    CredentialKind  `json:"credential,omitempty"`
	Evidence      claims.Evidence `json:"evidence"`
	IssuedAt      time.Time       `json:"issued_at"`
	RenewedAt     time.Time       `json:"renewed_at"`
	UsedAt        time.Time       `json:"used_at,omitzero"`
	ExpiresAt     time.Time       `json:"expires_at"`
	SessionKey    []byte          `json:"session_key,omitempty"`
	SessionKeyAt  time.Time       `json:"session_key_at,omitzero"`
	TGTs          []tgtJSON       `json:"tgts,omitempty"`
	TopLevelNames string          `json:"kerberos_top_level_names,omitempty"`
}

type tgtJSON struct {
	Cloud     bool   `json:"cloud,omitempty"`
	Realm     string `json:"realm,omitempty"`
	Client    string `json:"cn,omitempty"`
	Service   string `json:"sn,omitempty"`
	KeyType   int    `json:"key_type,omitempty"`
	ClientKey string `json:"client_key,omitempty"`
	ASRep     []byte `json:"as_rep,omitempty"`
	Error     string `json:"error,omitempty"`
}

// Marshal returns the serialised form, with the PRT in the clear: seal it
// before it goes to disk. (What encoding/json makes of a Token shows no secret
// and cannot be read back.)
func (t *Token) Marshal() ([]byte, error) {
	known, err := marshal(t.toJSON())
	if err != nil {
		return nil, err
	}
	if t.extra.IsZero() {
		return known, nil
	}
	defer clear(known)
	all := map[string]json.RawMessage{}
	for _, part := range [][]byte{t.extra.Bytes(), known} {
		if err := json.Unmarshal(part, &all); err != nil {
			return nil, fmt.Errorf("prt: encoding a token: %w", err)
		}
	}
	return marshal(all)
}

// UnmarshalToken reads what [Token.Marshal] wrote, in this or a compatible
// version.
func UnmarshalToken(data []byte) (*Token, error) {
	o, err := strictjson.Parse(data, MaxTokenSize)
	if err != nil {
		return nil, fmt.Errorf("prt: serialised token: %w", err)
	}
	if v := o.Int("v"); v < 1 || v > tokenFormat {
		return nil, fmt.Errorf("prt: serialised token: unknown version")
	}
	var j tokenJSON
	for name, field := range j.fields() {
		raw := o.Take(name)
		if raw == nil {
			continue
		}
		if err := json.Unmarshal(raw, field); err != nil {
			return nil, fmt.Errorf("prt: serialised token: member %s is of the wrong type", name)
		}
	}
	if j.KDF != KDFv1 && j.KDF != KDFv2 || j.Protocol.valid() != nil {
		return nil, fmt.Errorf("prt: serialised token: unknown KDF or protocol version")
	}
	t := j.token()
	if rest := o.Members(); len(rest) > 0 {
		b, err := marshal(rest)
		if err != nil {
			return nil, err
		}
		t.extra = secret.New(b)
	}
	return t, nil
}

// fields names the members exactly, where encoding/json would fold case.
func (j *tokenJSON) fields() map[string]any {
	return map[string]any{
		"v": &j.Version, "prt": &j.PRT, "protocol": &j.Protocol, "kdf": &j.KDF,
		"client_id": &j.ClientID, "tenant_id": &j.TenantID, "user_id": &j.UserID, "home_id": &j.HomeID,
		"username": &j.Username, "name": &j.Name, "device_id": &j.DeviceID,
		"credential": &j.Credential, "evidence": &j.Evidence,
		"issued_at": &j.IssuedAt, "renewed_at": &j.RenewedAt, "used_at": &j.UsedAt,
		"expires_at": &j.ExpiresAt, "session_key": &j.SessionKey,
		"session_key_at": &j.SessionKeyAt, "tgts": &j.TGTs,
		"kerberos_top_level_names": &j.TopLevelNames,
	}
}

func (t *Token) toJSON() tokenJSON {
	j := tokenJSON{
		Version: tokenFormat, PRT: t.PRT.Reveal(), Protocol: t.Protocol, KDF: t.KDF,
		ClientID: t.ClientID, TenantID: t.TenantID, UserID: t.UserID, HomeID: t.HomeID,
		Username: t.Username, Name: t.Name, DeviceID: t.DeviceID,
		Credential: t.Credential, Evidence: t.Evidence,
		IssuedAt: t.IssuedAt, RenewedAt: t.RenewedAt, UsedAt: t.UsedAt, ExpiresAt: t.ExpiresAt,
		SessionKey: t.SessionKey, SessionKeyAt: t.SessionKeyAt, TopLevelNames: t.TopLevelNames,
	}
	if j.KDF == 0 {
		j.KDF = KDFv2
	}
	for _, g := range t.TGTs {
		j.TGTs = append(j.TGTs, tgtJSON{
			g.Cloud, g.Realm, g.Client, g.Service, g.KeyType, g.ClientKey.Reveal(), g.ASRep, g.Error,
		})
	}
	return j
}

func (j *tokenJSON) token() *Token {
	t := &Token{
		PRT: NewSecret(j.PRT), Protocol: j.Protocol, KDF: j.KDF,
		ClientID: j.ClientID, TenantID: j.TenantID, UserID: j.UserID, HomeID: j.HomeID,
		Username: j.Username, Name: j.Name, DeviceID: j.DeviceID,
		Credential: j.Credential, Evidence: j.Evidence,
		IssuedAt: j.IssuedAt, RenewedAt: j.RenewedAt, UsedAt: j.UsedAt, ExpiresAt: j.ExpiresAt,
		SessionKey: j.SessionKey, SessionKeyAt: j.SessionKeyAt, TopLevelNames: j.TopLevelNames,
	}
	for _, g := range j.TGTs {
		t.TGTs = append(t.TGTs, TGT{
			g.Cloud, g.Realm, g.Client, g.Service, g.KeyType, NewSecret(g.ClientKey), g.ASRep, g.Error,
		})
	}
	return t
}
