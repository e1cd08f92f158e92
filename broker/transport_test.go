package broker_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// jar is a cookie jar that counts what it is given.
type jar struct {
	http.CookieJar
	set atomic.Int32
}

func (j *jar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	j.set.Add(int32(len(cookies)))
	j.CookieJar.SetCookies(u, cookies)
}

// A cookie of one user's session at the sign-in page does not go into the requests of
// another: the jar of the program's client is left alone.
func TestNoCookiesAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	kept, err := cookiejar.New(nil)
	require.NoError(t, err)
	j := &jar{CookieJar: kept}
	client := w.srv.Client()
	client = &http.Client{Transport: client.Transport, Jar: j}
	w.cfg.Transport = client
	softwareHello(w)
	w.join()
	w.hello()
	require.Zero(t, j.set.Load())
	require.Same(t, j, client.Jar, "the program's own")
}
