package entratest

import "fmt"

// PageError is a page on which a [Person] could not go on.
type PageError struct {
	Code int    // AADSTS code; zero: none
	Text string // what the page says, or what the person lacks
	Page string // id of the page's form; "" on an error page
}

func (e *PageError) Error() string {
	if e.Code == 0 {
		return "entratest: sign-in page: " + e.Text
	}
	return fmt.Sprintf("entratest: sign-in page: AADSTS%d: %s", e.Code, e.Text)
}
