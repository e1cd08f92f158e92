package entratest

import "github.com/prtbroker/prtbroker/broker/entratest/internal/browser"

// PageError reports a page that a [Person] could not get past.
type PageError struct {
	Code int    // AADSTS code; zero: none
	Text string // message on the page, or what the person lacks
	Page string // id of the page's form; "" on an error page
}

func (e *PageError) Error() string { return (*browser.PageError)(e).Error() }
