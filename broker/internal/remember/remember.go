// Package remember keeps what the service said to a request, so that a caller who
// asks in a loop costs it nothing.
package remember

import (
	"sync"
	"time"

	"github.com/prtbroker/prtbroker/internal/clock"
)

const (
	// For is how long an answer is remembered, as in MSAL.NET.
	For = 2 * time.Minute
	// Max bounds how many answers are remembered.
	Max = 1024
)

// Answers are remembered by the request, with the state of the world in which
// they were given. The zero value is ready, and safe for concurrent use.
type Answers[State comparable, Answer any] struct {
	mu   sync.Mutex // guards list
	list map[string]entry[State, Answer]
}

type entry[State comparable, Answer any] struct {
	state  State
	until  time.Time
	answer Answer
}

// Get returns what the service said to a request in the same state of the world, if
// that was not too long ago. A clock that was set back makes it forget.
func (a *Answers[State, Answer]) Get(request string, state State, now time.Time) (answer Answer, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.list[request] // one that is not there is over
	if left := clock.Left(e.until, now); left <= 0 || left > For || e.state != state {
		delete(a.list, request)
		return answer, false
	}
	return e.answer, true
}

// Forget drops the answer to a request.
func (a *Answers[State, Answer]) Forget(request string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.list, request)
}

// Keep remembers an answer.
func (a *Answers[State, Answer]) Keep(request string, state State, now time.Time, answer Answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.list == nil {
		a.list = map[string]entry[State, Answer]{}
	}
	if len(a.list) >= Max {
		for k, e := range a.list {
			if clock.Left(e.until, now) <= 0 {
				delete(a.list, k)
			}
		}
	}
	if len(a.list) >= Max {
		clear(a.list)
	}
	a.list[request] = entry[State, Answer]{state, now.Add(For), answer}
}
