package entratest

import (
	"sync"
	"time"
)

// signInLog keeps the last entries in a ring.
type signInLog struct {
	limit int // entries that are kept

	mu   sync.Mutex // guards the ring
	ring []logEntry
	next int64 // sequence number of the next entry, from 1
}

func newSignInLog(size int) *signInLog {
	return &signInLog{limit: size, ring: make([]logEntry, 0, min(size, 64)), next: 1}
}

func (l *signInLog) add(e logEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Seq = l.next
	l.next++
	if len(l.ring) < l.limit {
		l.ring = append(l.ring, e)
		return
	}
	l.ring[int((e.Seq-1)%int64(l.limit))] = e
}

// restore fills an empty log.
func (l *signInLog) restore(list []logEntry) {
	if len(list) > l.limit {
		list = list[len(list)-l.limit:]
	}
	if len(list) == 0 {
		return
	}
	l.mu.Lock()
	l.next = list[0].Seq
	l.mu.Unlock()
	for _, e := range list {
		l.add(e)
	}
}

func (l *signInLog) all() []logEntry {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := int64(len(l.ring))
	out := make([]logEntry, 0, n)
	for seq := l.next - n; seq < l.next; seq++ {
		out = append(out, l.ring[int((seq-1)%n)])
	}
	return out
}

// logEntry is an entry of the sign-in log. Its fields are documented with the
// emulator's own.
type logEntry struct {
	Seq           int64
	Time          time.Time
	CorrelationID string
	Endpoint      string
	Grant         string
	Interactive   bool

	Username   string
	UserID     string
	ClientID   string
	Resource   string
	DeviceID   string
	Platform   string
	DeviceCode bool
	AMR        []string
	MFAPrompts int

	ErrorCode int
	Error     string
	Suberror  string

	Policies []policyResult
}

// policyResult is what one Conditional Access policy said.
type policyResult struct{ ID, Name, Result string }
