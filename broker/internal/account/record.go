package account

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
)

// A Record is an account and its PRTs, as sealed in the store. Updates replace
// a record, never modify it.
type Record struct {
	Version int      `json:"v"`
	Account Identity `json:"account"`
	PRTs    []PRT    `json:"prts"`

	Hello *Hello `json:"hello,omitempty"` // nil: there is none
	// NextHello is a key whose registration was begun and got no answer: the
	// service may know it.
	NextHello *Hello `json:"next_hello,omitempty"`
	// Failed is the last attempt to get or to renew a PRT, if it failed; nil: it
	// succeeded.
	Failed *Attempt `json:"failed,omitempty"`
	// Away are the PRTs that were put away to where only the PIN opens them,
	// sealed under the offline key; nil: the account is not locked.
	Away []byte `json:"away,omitempty"`
}

// A PRT is the Primary Refresh Token of one kind of credential.
type PRT struct {
	Token *prt.Token
	// Previous is what Token replaced in a renewal; nil once Token has been used
	// successfully.
	Previous *prt.Token
	Dead     *Death // nil: alive, as far as is known
	Origin   Origin
}

// Session is what Conditional Access sees of the session behind the PRT.
func (p *PRT) Session() claims.Session {
	s := claims.Session{Evidence: p.Token.Evidence, DeviceCode: claims.No}
	switch p.Origin {
	case DeviceCode:
		s.DeviceCode = claims.Yes
	case Unknown:
		s.DeviceCode = claims.Unknown
	}
	return s
}

// An Origin is how the session of a PRT began. The mark of a device code stays
// with every token that derives from it.
type Origin string

// Origins.
const (
	Unknown    Origin = "" // from a refresh token that the caller gave
	Page       Origin = "page"
	DeviceCode Origin = "device_code"
	Direct     Origin = "direct" // the credential itself
)

// A Death says why a PRT was given up.
type Death struct {
	Verdict aadsts.Verdict `json:"verdict"`
	Code    int            `json:"code"`
	OAuth   string         `json:"error,omitempty"`
	At      time.Time      `json:"at"`
}

type prtJSON struct {
	Token    json.RawMessage `json:"token"`
	Previous json.RawMessage `json:"previous,omitempty"`
	Dead     *Death          `json:"dead,omitempty"`
	Origin   Origin          `json:"origin,omitempty"`
}

// MarshalJSON writes the tokens in the clear: it is for sealed records alone.
func (e PRT) MarshalJSON() ([]byte, error) {
	var j prtJSON
	var err error
	if j.Token, err = e.Token.Marshal(); err != nil {
		return nil, err
	}
	if e.Previous != nil {
		if j.Previous, err = e.Previous.Marshal(); err != nil {
			return nil, err
		}
	}
	j.Dead, j.Origin = e.Dead, e.Origin
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (e *PRT) UnmarshalJSON(b []byte) error {
	var j prtJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	var err error
	if e.Token, err = prt.UnmarshalToken(j.Token); err != nil {
		return err
	}
	if j.Previous != nil {
		if e.Previous, err = prt.UnmarshalToken(j.Previous); err != nil {
			return err
		}
	}
	e.Dead, e.Origin = j.Dead, j.Origin
	return nil
}

// clone copies what an update may change; tokens are replaced, never changed.
func (a *Record) clone() *Record {
	c := *a
	c.PRTs = slices.Clone(a.PRTs)
	return &c
}

// Set puts a new PRT in place of the one with the same credential.
func (a *Record) Set(e PRT) {
	i := slices.IndexFunc(a.PRTs, func(p PRT) bool { return p.Token.Credential == e.Token.Credential })
	if i < 0 {
		a.PRTs = append(a.PRTs, e)
		return
	}
	a.PRTs[i] = e
}

// PRT returns the PRT of a credential; nil when there is none.
func (a *Record) PRT(by prt.CredentialKind) *PRT {
	i := slices.IndexFunc(a.PRTs, func(p PRT) bool { return p.Token.Credential == by })
	if i < 0 {
		return nil
	}
	return &a.PRTs[i]
}

// A Generation tells the current PRTs of an account from earlier ones: a
// sign-in, a step-up or a renewal, in any process, makes a new one. It is zero
// for an account without a PRT.
type Generation [sha256.Size]byte

// Generation returns that of the PRTs that are in use.
func (r *Record) Generation() Generation {
	h := sha256.New()
	some := false
	for _, p := range r.PRTs {
		if p.Dead == nil {
			some = true
			fmt.Fprintf(h, "%s %d ", p.Token.Credential, len(p.Token.PRT.Reveal()))
			_, _ = h.Write([]byte(p.Token.PRT.Reveal()))
		}
	}
	if !some {
		return Generation{}
	}
	return Generation(h.Sum(nil))
}

// Locked reports whether only the PIN opens the account's PRTs.
func (r *Record) Locked() bool { return r.Away != nil && len(r.PRTs) == 0 }

// SealedUnder reports whether the offline key in the record is o.
func (r *Record) SealedUnder(o *Offline) bool {
	return o != nil && r.Hello != nil && r.Hello.Offline != nil && r.Hello.Offline.ID == o.ID
}

// With returns the PRTs of the record, and those of others whose kind the
// record lacks.
func (r *Record) With(others []PRT) []PRT {
	all := slices.Clone(r.PRTs)
	for _, e := range others {
		if r.PRT(e.Token.Credential) == nil {
			all = append(all, e)
		}
	}
	return all
}

// Ranked returns the PRTs that may be used, the strongest first: MFA
// before unknown before none, then the more recent MFA, then the longer life.
// One that looks expired comes last: the service has the last word.
func (r *Record) Ranked(now time.Time) []PRT {
	var out []PRT
	for _, e := range r.PRTs {
		if e.Dead == nil {
			out = append(out, e)
		}
	}
	expired := func(e PRT) int {
		if e.Token.State(now) == prt.Expired {
			return 1
		}
		return 0
	}
	rank := map[claims.Answer]int{claims.Yes: 0, claims.Unknown: 1, claims.No: 2}
	slices.SortStableFunc(out, func(x, y PRT) int {
		return cmp.Or(
			expired(x)-expired(y),
			rank[x.Token.Evidence.MFA]-rank[y.Token.Evidence.MFA],
			y.Token.Evidence.At.Compare(x.Token.Evidence.At),
			y.Token.ExpiresAt.Compare(x.Token.ExpiresAt),
		)
	})
	return out
}

func (r *Record) DropHello() {
	r.Hello, r.NextHello, r.Away = nil, nil, nil
	rest := []PRT{}
	for _, e := range r.PRTs {
		if e.Token.Credential != prt.ByHello {
			rest = append(rest, e)
		}
	}
	r.PRTs = rest
}

// LastDeath returns why the most recent PRT was given up; nil: none was.
func (r *Record) LastDeath() (last *Death) {
	for _, e := range r.PRTs {
		if e.Dead != nil && (last == nil || e.Dead.At.After(last.At)) {
			last = e.Dead
		}
	}
	return last
}

// Why no PRT of an account can be used, unless the last one died (Death).
var (
	ErrLocked = errors.New("broker: the account is locked")
	ErrNoPRT  = errors.New("broker: the account has no PRT")
)

// Over is why no PRT of the account can be used: the last [*Death], ErrLocked or
// ErrNoPRT.
func (r *Record) Over() error {
	switch last := r.LastDeath(); {
	case last != nil:
		return last
	case r.Locked():
		return ErrLocked
	}
	return ErrNoPRT
}

// Error says which code of the service ended the PRT.
func (d *Death) Error() string {
	return fmt.Sprintf("broker: the PRT is no longer valid (AADSTS%d)", d.Code)
}
