package broker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/prtbroker/prtbroker/broker"
)

// servePerson lets another process ask the person of a world, who knows the
// secrets.
func servePerson(t *testing.T, w *world) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		to, err := w.person.Authorize(r.Context(), r.FormValue("url"), r.FormValue("prefix"))
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadGateway)
			return
		}
		_, _ = io.WriteString(rw, to)
	}))
	t.Cleanup(s.Close)
	return s
}

// remotePerson is a person in another process, which knows the secrets.
type remotePerson string

func (p remotePerson) Authorize(ctx context.Context, address, prefix string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, string(p), strings.NewReader(url.Values{"url": {address}, "prefix": {prefix}}.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Close = true
	rep, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer rep.Body.Close()
	to, err := io.ReadAll(rep.Body)
	if err == nil && rep.StatusCode != http.StatusOK {
		err = fmt.Errorf("the person: %s", to)
	}
	return string(to), err
}

func (remotePerson) DeviceCode(context.Context, broker.DeviceCode) error {
	return errors.New("nobody is asked for a code here")
}

func (remotePerson) PIN(context.Context, broker.Account) (broker.PIN, error) {
	return nil, broker.ErrUserCanceled
}
