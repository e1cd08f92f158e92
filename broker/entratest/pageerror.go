package entratest

import "github.com/prtbroker/prtbroker/broker/entratest/internal/browser"

// PageError is a page on which a [Person] could not go on.
type PageError struct {
	Code int    // AADSTS code; zero: none
	Text string // what the page says, or what the person lacks
	Page string // id of the page's form; "" on an error page
}

func (e *PageError) Error() string { return (*browser.PageError)(e).Error() }
