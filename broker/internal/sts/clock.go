package sts

import (
	"net/http"
	"time"
)

// Now is the time that requests are stamped with: this machine's clock,
// corrected by as much as the sign-in service's own replies show it to be
// wrong. The service refuses an assertion whose time is some minutes off. It is
// for stamps alone: how long to wait, and what has expired, is decided by this
// machine's clock, which no reply can move.
func (c *Client) Now() time.Time { return c.cfg.Now().Add(time.Duration(c.offset.Load())) }

// learnTime takes the offset of the service's clock from a reply of its own to a
// request that went out at sent. A reply without a Date, or one that a cache kept
// (Age, RFC 9111 5.1), says nothing.
func (c *Client) learnTime(rep *Reply, sent time.Time) {
	date, err := http.ParseTime(rep.Header.Get("Date"))
	if err != nil || rep.Header.Get("Age") != "" {
		return
	}
	c.offset.Store(int64(offset(date, sent, c.cfg.Now())))
}

// offset is the smallest error of a clock that showed sent when a request went
// out and received when its reply came: the service wrote date, in whole
// seconds, in between.
func offset(date, sent, received time.Time) time.Duration {
	sent, received = sent.Round(0), received.Round(0) // the wall clock, with which requests are stamped
	switch {
	case date.After(received):
		return date.Sub(received)
	case date.Add(time.Second).Before(sent):
		return date.Add(time.Second).Sub(sent)
	}
	return 0
}
