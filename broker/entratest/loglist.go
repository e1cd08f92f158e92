package entratest

import "sync"

// signInLog keeps the last entries in a ring.
type signInLog struct {
	mu   sync.Mutex // guards the ring
	ring []SignIn
	next int64 // sequence number of the next entry, from 1
}

func newSignInLog(size int) *signInLog {
	return &signInLog{ring: make([]SignIn, 0, min(size, 64)), next: 1}
}

func (l *signInLog) add(e SignIn, limit int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Seq = l.next
	l.next++
	if len(l.ring) < limit {
		l.ring = append(l.ring, e)
		return
	}
	l.ring[int((e.Seq-1)%int64(limit))] = e
}

func (l *signInLog) all() []SignIn {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := int64(len(l.ring))
	out := make([]SignIn, 0, n)
	for seq := l.next - n; seq < l.next; seq++ {
		out = append(out, l.ring[int((seq-1)%n)])
	}
	return out
}
