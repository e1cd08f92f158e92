package account

import (
	"context"
	"fmt"
	"slices"

	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

// heldSession is an open session key. It is closed when no PRT has it and no
// call uses it.
type heldSession struct {
	key    tpm.SessionKey
	users  int
	unused bool // no PRT has it
}

// Session opens a session key and holds it. The caller calls release when done
// with it.
func (a *Account) Session(ctx context.Context, t *prt.Token) (s prt.Session, release func(), err error) {
	blob := string(t.SessionKey)
	h := a.useSession(blob, nil)
	if h == nil {
		opened, err := a.cfg.Keys.OpenSession(ctx, t.SessionKey)
		if err != nil {
			return prt.Session{}, nil, fmt.Errorf("opening the session key: %w", err)
		}
		h = a.useSession(blob, opened)
	}
	if h == nil {
		return prt.Session{}, nil, vault.ErrClosed
	}
	s = t.Session(h.key)
	s.Rand = a.cfg.Rand
	return s, func() { a.doneWith(h) }, nil
}

// useSession counts a user of a session key. A newly opened key is kept unless
// one is held already, which wins.
func (a *Account) useSession(blob string, opened tpm.SessionKey) *heldSession {
	a.mu.Lock()
	h := a.sessions[blob]
	if h == nil && opened != nil && a.sessions != nil {
		h = &heldSession{key: opened}
		a.sessions[blob], opened = h, nil
	}
	if h != nil {
		h.users++
	}
	a.mu.Unlock()
	if opened != nil {
		_ = opened.Close()
	}
	return h
}

func (a *Account) doneWith(h *heldSession) {
	a.mu.Lock()
	h.users--
	last := h.unused && h.users == 0
	a.mu.Unlock()
	if last {
		_ = h.key.Close()
	}
}

// HoldSession keeps the open session key of a new PRT.
func (a *Account) HoldSession(blob string, key tpm.SessionKey) {
	if h := a.useSession(blob, key); h != nil {
		a.doneWith(h)
	}
}

// ReleaseUnused closes the session keys that no PRT of the record has.
func (a *Account) ReleaseUnused() {
	a.mu.Lock()
	var old []*heldSession
	for blob, h := range a.sessions {
		used := a.record != nil && slices.ContainsFunc(a.record.PRTs, func(e PRT) bool {
			return string(e.Token.SessionKey) == blob || e.Previous != nil && string(e.Previous.SessionKey) == blob
		})
		if used {
			continue
		}
		delete(a.sessions, blob)
		h.unused = true
		if h.users == 0 {
			old = append(old, h)
		}
	}
	a.mu.Unlock()
	for _, h := range old {
		_ = h.key.Close()
	}
}
