package broker

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
)

// deviceRecord is a registration, finished or under way.
type deviceRecord struct {
	Version      int       `json:"v"`
	Phase        phase     `json:"phase"`
	TenantID     string    `json:"tenant_id"`
	TenantNames  []string  `json:"tenant_names,omitempty"` // domains that were configured for it
	JoinType     JoinType  `json:"join_type"`
	DeviceKey    []byte    `json:"device_key"`              // blob
	TransportKey []byte    `json:"transport_key"`           // blob
	DirectoryKey []byte    `json:"directory_key,omitempty"` // blob; hybrid only
	Certificate  []byte    `json:"certificate,omitempty"`
	DisplayName  string    `json:"display_name,omitempty"`
	Registered   time.Time `json:"registered,omitzero"`
	// Endpoints are what discovery said, for Status, which makes no request.
	Endpoints endpoints `json:"endpoints"`
}

// A phase is how far a registration has come.
type phase string

const (
	phaseKeys      phase = "keys"      // the keys are made; the service knows nothing
	phaseRequested phase = "requested" // the request may have been sent
	phaseComplete  phase = "complete"  // the certificate is here
)

// matches reports whether tenant, an id or a domain, means this registration.
func (d *deviceRecord) matches(tenant string) bool {
	tenant = strings.ToLower(tenant)
	return d.TenantID == tenant || slices.Contains(d.TenantNames, tenant)
}

// accountRecord is an account and its PRTs.
type accountRecord struct {
	Version int        `json:"v"`
	Account Account    `json:"account"`
	PRTs    []prtEntry `json:"prts"`

	Hello *helloRecord `json:"hello,omitempty"` // nil: there is none
	// NextHello is a key whose registration was begun and not answered: the
	// service may know it.
	NextHello *helloRecord `json:"next_hello,omitempty"`
	// Away are the PRTs that were put away to where only the PIN opens them,
	// sealed under the offline key; nil: the account is not locked.
	Away []byte `json:"away,omitempty"`
}

// prtEntry is the PRT of one kind of credential.
type prtEntry struct {
	token *prt.Token
	// previous is what token replaced by a renewal; nil once token was used
	// with success.
	previous *prt.Token
	dead     *deathNote // nil: as far as is known it lives
	origin   origin
}

// origin is how the session of a PRT began. The mark of a device code stays
// with every token that is born of it.
type origin string

const (
	originUnknown    origin = "" // of a refresh token that the caller gave
	originPage       origin = "page"
	originDeviceCode origin = "device_code"
	originDirect     origin = "direct" // the credential itself
)

// deathNote says why a PRT is given up.
type deathNote struct {
	Verdict aadsts.Verdict `json:"verdict"`
	Code    int            `json:"code"`
	OAuth   string         `json:"error,omitempty"`
	At      time.Time      `json:"at"`
}

type prtEntryJSON struct {
	Token    json.RawMessage `json:"token"`
	Previous json.RawMessage `json:"previous,omitempty"`
	Dead     *deathNote      `json:"dead,omitempty"`
	Origin   origin          `json:"origin,omitempty"`
}

// MarshalJSON writes the tokens in the clear: it is for sealed records alone,
// and the type is not exported.
func (e prtEntry) MarshalJSON() ([]byte, error) {
	var j prtEntryJSON
	var err error
	if j.Token, err = e.token.Marshal(); err != nil {
		return nil, err
	}
	if e.previous != nil {
		if j.Previous, err = e.previous.Marshal(); err != nil {
			return nil, err
		}
	}
	j.Dead, j.Origin = e.dead, e.origin
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (e *prtEntry) UnmarshalJSON(b []byte) error {
	var j prtEntryJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	var err error
	if e.token, err = prt.UnmarshalToken(j.Token); err != nil {
		return err
	}
	if j.Previous != nil {
		if e.previous, err = prt.UnmarshalToken(j.Previous); err != nil {
			return err
		}
	}
	e.dead, e.origin = j.Dead, j.Origin
	return nil
}

// clone copies what an update may change; tokens are replaced, never changed.
func (a *accountRecord) clone() *accountRecord {
	c := *a
	c.PRTs = slices.Clone(a.PRTs)
	return &c
}

// set puts a new PRT in the place of the one of its credential.
func (a *accountRecord) set(e prtEntry) {
	i := slices.IndexFunc(a.PRTs, func(p prtEntry) bool { return p.token.Credential == e.token.Credential })
	if i < 0 {
		a.PRTs = append(a.PRTs, e)
		return
	}
	a.PRTs[i] = e
}

// find returns the PRT of a credential; nil when there is none.
func (a *accountRecord) find(by prt.Credential) *prtEntry {
	i := slices.IndexFunc(a.PRTs, func(p prtEntry) bool { return p.token.Credential == by })
	if i < 0 {
		return nil
	}
	return &a.PRTs[i]
}

// Prefixes of the names of owners.
const (
	devicePrefix  = "device-"
	accountPrefix = "account-"
)

func deviceOwner(tenantID string) string { return devicePrefix + vault.HashedID("tenant", tenantID) }

// userPrefix is what the accounts of one user of the machine share, and no
// other user has: a part of the hash would be shared by some.
func (c *Config) userPrefix() string {
	return accountPrefix + vault.HashedID("user", c.UserID) + "-"
}

func (c *Config) accountOwner(key string) string {
	return c.userPrefix() + vault.HashedID("account", key)
}
