package broker_test

import (
	"context"
	"net"
	"net/http"
	"syscall"
)

// soakFaults are what happens to one request of twenty.
var soakFaults = []httpFault{
	{name: "connection refused", dial: func() (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}},
	{name: "reset before anything is sent", unread: true},
	{name: "reset after the service handled it", serve: func(_ net.Conn, service func() *http.Response) { service() }},
	{name: "503", serve: says(503, portalPage, "Content-Type: text/html")},
	{name: "503 of the service", serve: says(503, busy, "Content-Type: application/json", "Retry-After: 30")},
	{name: "garbage as JSON", serve: says(200, "\x00\xff{]}\"garbage", "Content-Type: application/json")},
	{name: "a portal's page", serve: says(200, portalPage, "Content-Type: text/html")},
	{name: "a portal's redirect", serve: says(302, portalPage, "Content-Type: text/html", "Location: http://portal.example/login")},
}

// faultyLine is the network of a soak.
type faultyLine struct{ s *soak }

func (l faultyLine) Do(r *http.Request) (*http.Response, error) {
	f := l.s.fault()
	if f == nil {
		return l.s.wire.Do(r)
	}
	return f.do(r, func() *http.Response {
		again := r.Clone(context.WithoutCancel(r.Context()))
		if r.GetBody != nil { // the one that r has was read
			again.Body, _ = r.GetBody()
		}
		res, err := l.s.wire.Do(again)
		if err != nil { // the line was cut
			return nil
		}
		_ = res.Body.Close()
		l.s.committed()
		return nil
	})
}

// disturb lets requests fail, or not.
func (s *soak) disturb(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = on
}

// committed counts a reply that is lost although the service handled the request.
func (s *soak) committed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost++
}

// fault is what happens to the next request; nil: nothing.
func (s *soak) fault() *httpFault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.faults || s.line.IntN(20) != 0 {
		return nil
	}
	s.hit++
	return &soakFaults[s.line.IntN(len(soakFaults))]
}
