package dbus

import (
	"context"
	"time"

	"github.com/prtbroker/prtbroker/broker"
)

// Interactive returns how many interactive calls are under way.
func (h *Handler) Interactive() int {
	h.pending.mu.Lock()
	defer h.pending.mu.Unlock()
	return h.pending.count
}

// Releasing sets what is called before s gives its name back, and how long calls
// that are told to end may take.
func (s *Service) Releasing(f func(), limit time.Duration) { s.releasing, s.limit = f, limit }

// Sending sets what is called before s writes a reply, with how many calls are under
// way then.
func (s *Service) Sending(f func(underWay int)) { s.sending = f }

// ThereAndBack is what a Client makes of what a Service says of err.
func ThereAndBack(h *Handler, method string, err error) error {
	said := h.failure(context.Background(), Caller{}, method, err)
	e := &broker.Error{}
	if said.Diagnostics != nil {
		e.SubError = said.Diagnostics.SubError
	}
	return sentinelOf(said.Status, e)
}

// AccountOf is whose token a reply holds.
var AccountOf = accountOf
