package web

import (
	"strconv"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/pages"
)

// Explain shows an error on a page.
func Explain(p *pages.Page, err error) {
	if err == nil {
		return
	}
	e := AsSTSError(err)
	p.Error, p.Code = e.Text, e.Code
	p.Config["sErrorCode"], p.Config["iErrorCode"], p.Config["sErrTxt"] = strconv.Itoa(e.Code), e.Code, e.Text
	p.Config["strServiceExceptionMessage"] = e.Error()
}
