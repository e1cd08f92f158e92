package sts

import (
	"net/http"
	"time"
)

// Now is the time that requests are stamped with: this machine's clock, by as
// much as the sign-in service's own replies show that it is wrong. The service
// refuses an assertion whose time is some minutes off. It is for stamps alone: how
// long to wait, and what has expired, this machine's clock decides, which no
// reply can move.
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

// offset is the least by which the clock is wrong that showed sent when a
// request went out and received when its reply came: the service wrote date, in
// whole seconds, in between.
func offset(date, sent, received time.Time) time.Duration {
	sent, received = sent.Round(0), received.Round(0) // the wall clock, which is what requests are stamped by
	switch {
	case date.After(received):
		return date.Sub(received)
	case date.Add(time.Second).Before(sent):
		return date.Add(time.Second).Sub(sent)
	}
	return 0
}
