package directory

import (
	"sync"
	"time"

	"github.com/prtbroker/prtbroker/policy"
)

// SignInLog keeps the last entries in a ring.
type SignInLog struct {
	limit int // entries that are kept

	mu    sync.Mutex // guards the ring
	ring  []LogEntry
	first int64 // sequence number of the first entry that there was
	next  int64 // of the next entry
}

// NewSignInLog returns a log that keeps the last size entries.
func NewSignInLog(size int) *SignInLog {
	return &SignInLog{limit: size, ring: make([]LogEntry, 0, min(size, 64)), first: 1, next: 1}
}

// Next returns an empty log that continues to count where this one is.
func (l *SignInLog) Next() *SignInLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := NewSignInLog(l.limit)
	next.first, next.next = l.next, l.next
	return next
}

// Add numbers an entry and keeps it.
func (l *SignInLog) Add(e LogEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Seq = l.next
	l.next++
	if len(l.ring) < l.limit {
		l.ring = append(l.ring, e)
		return
	}
	l.ring[int((e.Seq-l.first)%int64(l.limit))] = e
}

// Restore fills an empty log.
func (l *SignInLog) Restore(list []LogEntry) {
	if len(list) > l.limit {
		list = list[len(list)-l.limit:]
	}
	if len(list) == 0 {
		return
	}
	l.mu.Lock()
	l.first, l.next = list[0].Seq, list[0].Seq
	l.mu.Unlock()
	for _, e := range list {
		l.Add(e)
	}
}

// All returns the entries, oldest first.
func (l *SignInLog) All() []LogEntry {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := int64(len(l.ring))
	out := make([]LogEntry, 0, n)
	for seq := l.next - n; seq < l.next; seq++ {
		out = append(out, l.ring[int((seq-l.first)%int64(l.limit))])
	}
	return out
}

// LogEntry is an entry of the sign-in log. Its fields are documented with the
// emulator's own.
type LogEntry struct {
	Seq           int64
	Time          time.Time
	CorrelationID string
	Endpoint      string
	Grant         string
	Interactive   bool

	Username string
	UserID   string
	ClientID string
	// ServicePrincipal is the object id of an application that asked for an
	// app-only token; "": a user signed in.
	ServicePrincipal string
	Resource         string
	DeviceID         string
	Platform         string
	Address, Country string `json:",omitempty"`
	Unique           string `json:",omitempty"` // claim uti of the tokens
	DeviceCode       bool
	AMR              []string
	MFAPrompts       int

	ErrorCode int
	Error     string
	Suberror  string

	Policies []PolicyResult
	// Asked is what Conditional Access was asked, to explain its answer; nil: it was not
	// asked, or by an earlier server.
	Asked *Asked `json:"-"`
}

// Asked is a question to Conditional Access with the policies that were in force.
type Asked struct {
	Set    *policy.Set
	SignIn *policy.SignIn
}

// PolicyResult is the result of one Conditional Access policy.
type PolicyResult struct{ ID, Name, Result string }
