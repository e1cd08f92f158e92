package web

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

type installedFault struct {
	fault Fault
	calls int // matching calls so far
}

func (f *installedFault) hits(e Endpoint, r *http.Request) bool {
	if f.fault.Endpoint != "" && f.fault.Endpoint != e || f.fault.Match != nil && !f.fault.Match(r) {
		return false
	}
	f.calls++
	first, times := max(f.fault.Nth, 1), f.fault.Times
	if times == 0 {
		times = 1
	}
	return f.calls >= first && (times < 0 || f.calls < first+times)
}

type faultList struct {
	mu   sync.Mutex // guards list and the counters of its faults
	list []*installedFault
}

func (l *faultList) add(f Fault) (remove func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	in := &installedFault{fault: f}
	l.list = append(l.list, in)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		kept := make([]*installedFault, 0, len(l.list))
		for _, f := range l.list {
			if f != in {
				kept = append(kept, f)
			}
		}
		l.list = kept
	}
}

func (l *faultList) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = nil
}

// next returns the first fault that affects this call. All faults count the call.
func (l *faultList) next(e Endpoint, r *http.Request) *Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	var hit *Fault
	for _, f := range l.list {
		if f.hits(e, r) && hit == nil {
			hit = &f.fault
		}
	}
	return hit
}

// apply runs handle, subject to a fault if one affects the call.
func (l *faultList) apply(s *Router, w http.ResponseWriter, r *http.Request, e Endpoint, handle func(http.ResponseWriter)) {
	f := l.next(e, r)
	if f == nil {
		handle(w)
		return
	}
	switch f.Kind {
	case DropBefore:
		panic(http.ErrAbortHandler)
	case DropAfter:
		handle(NewRecorder())
		panic(http.ErrAbortHandler)
	case Delay:
		s.hold(r, f.Delay)
		handle(w)
	case Throttle:
		retry := f.RetryAfter
		if retry == 0 {
			retry = time.Second
		}
		s.writeSTSError(w, r, &STSError{status: http.StatusTooManyRequests, OAuth: "temporarily_unavailable",
			Code: 90055, Text: "The tenant has been throttled.", retryAfter: retry})
	case Status:
		serverBusy(w, f)
	case Truncate:
		rec := NewRecorder()
		handle(rec)
		truncate(w, rec)
	case Garbage:
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = w.Write([]byte("<html>\x00\xff not what you asked for"))
	case AADSTS:
		oauth := f.Error
		if oauth == "" {
			oauth = "invalid_grant"
		}
		s.writeSTSError(w, r, &STSError{status: f.Status, OAuth: oauth, Code: f.Code,
			Text: "This error was asked for by a fault.", Suberror: f.Suberror, retryAfter: f.RetryAfter})
	}
}

// hold waits for d in real time, or as long as the client waits if d is negative.
func (s *Router) hold(r *http.Request, d time.Duration) {
	var timer <-chan time.Time
	if d >= 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-timer:
	case <-r.Context().Done():
		panic(http.ErrAbortHandler)
	case <-s.Done:
		panic(http.ErrAbortHandler)
	}
}

func serverBusy(w http.ResponseWriter, f *Fault) {
	status := f.Status
	if status == 0 {
		status = http.StatusServiceUnavailable
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", Seconds(f.RetryAfter))
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte("<!DOCTYPE html><title>Service unavailable</title><h1>Our services aren't available right now</h1>"))
}

func truncate(w http.ResponseWriter, rec *Recorder) {
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	body := rec.Body.Bytes()
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	rec.WriteHeader(http.StatusOK)
	w.WriteHeader(rec.Status)
	_, _ = w.Write(body[:len(body)/2])
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	panic(http.ErrAbortHandler)
}
