package entratest

import "github.com/prtbroker/prtbroker/broker/entratest/internal/browser"

// PageError reports a page that a [Person] could not get past.
type PageError struct {
	Code int    // AADSTS code; zero: none
	Text string // message on the page, or what the person lacks
	Page string // id of the page's form; "" on an error page
}

// Error names the page, the AADSTS code and the text.
func (e *PageError) Error() string { return (*browser.PageError)(e).Error() }
