package tpm

// A TPM has three object slots. On a connection of one's own, two session keys
// stay loaded: the third slot is for the storage root key, persistent or not,
// when it loads them. Anything else that is loaded or made needs two slots, so
// one session key has to go first.
const (
	bareHolds  = 2
	bareSpares = 1
)

// Behind a resource manager, which saves and loads around each command whatever
// the descriptor has loaded, two session keys on one descriptor would cost three
// commands at the chip for each derivation, more than loading them by turns. So
// each has a descriptor to itself: the one that is used most has its own, and a
// second one is a guest on the descriptor for everything else until something
// else is loaded there.
type seats struct {
	first  *sessionKey // has the descriptor for session keys; nil: none
	last   *sessionKey // the one used last
	making int         // keys that are being made, which takes seconds
}

// takeSeat returns the space in which s is used.
func (s *sessionKey) takeSeat() *space {
	t := s.t
	if !t.managed() {
		return t.keys
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.seats.last
	t.seats.last = s
	switch {
	case t.seats.making > 0: // a token does not wait for it
		s.seat = t.sessions
	case s.seat != nil:
	case t.seats.first != nil && before != s:
		s.seat = t.keys
	default: // nobody has the seat, or s is used again and again and has lost that of a guest
		s.seat = t.sessions
	}
	if s.seat == t.sessions {
		t.seats.first = s
	}
	return s.seat
}

// unseat notes that s is no longer loaded in sp.
func (s *sessionKey) unseat(sp *space) {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	if s.seat == sp {
		s.seat = nil
	}
	if sp == s.t.sessions && s.t.seats.first == s {
		s.t.seats.first = nil
	}
}

// leaveSeat returns where s was loaded, for the last time.
func (s *sessionKey) leaveSeat() *space {
	t := s.t
	if !t.managed() {
		return t.keys
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	sp := s.seat
	s.seat = nil
	if t.seats.first == s {
		t.seats.first = nil
	}
	return sp
}

// keysBusy notes that a key is being made, until the function that it returns
// is called.
func (t *TPM) keysBusy() (done func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seats.making++
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.seats.making--
	}
}
