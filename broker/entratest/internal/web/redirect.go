package web

import (
	"html"
	"io"
	"net/http"
)

// Redirect sends a browser elsewhere, with the short hypertext note that RFC
// 9110, 15.4 asks for: programs that do not follow redirects read the link in it.
func Redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusFound)
	_, _ = io.WriteString(w, "<html><head><title>Object moved</title></head><body>\r\n"+
		`<h2>Object moved to <a href="`+html.EscapeString(to)+`">here</a>.</h2>`+"\r\n</body></html>\r\n")
}
