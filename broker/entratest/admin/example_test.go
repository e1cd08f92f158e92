package admin_test

import (
	"fmt"
	"net/http/httptest"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/entratest/admin"
)

// A test in another language would send this request.
func ExampleNew() {
	srv := entratest.NewServer(entratest.Options{
		Users: []entratest.User{{Username: "alice", Password: "correct horse"}},
	})
	defer srv.Close()
	handler := admin.New(srv, admin.Options{Token: "a random token"})

	r := httptest.NewRequest("POST", "http://localhost:8471/users/alice@contoso.example/disable", nil)
	r.Header.Set("Authorization", "Bearer a random token")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	fmt.Println(w.Code)
	// Output: 204
}
