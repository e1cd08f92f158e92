package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/prtbroker/prtbroker/broker"
)

// A wiretap plays the thief: it sits behind the TLS of the device and remembers
// the last PRT that the broker sent.
type wiretap struct {
	next broker.Transport

	mu  sync.Mutex // guards what follows
	prt string
	off bool // the network is cut
}

var errCut = errors.New("the network is cut")

// cut cuts the network or restores it.
func (w *wiretap) cut(off bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.off = off
}

func (w *wiretap) isCut() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.off
}

// Do implements [broker.Transport].
func (w *wiretap) Do(req *http.Request) (*http.Response, error) {
	if w.isCut() {
		return nil, errCut
	}
	if req.Method == http.MethodPost && req.Body != nil {
		body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
		if err != nil {
			return nil, err
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		w.remember(body)
	}
	return w.next.Do(req)
}

func (w *wiretap) remember(body []byte) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return
	}
	parts := strings.Split(form.Get("request"), ".")
	if len(parts) != 3 {
		return
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return
	}
	var claims struct {
		RefreshToken string `json:"refresh_token"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.RefreshToken == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.prt = claims.RefreshToken
}

// replay sends the stolen PRT as a plain refresh token, without the session
// key, and returns what the service says.
func (w *wiretap) replay(endpoint, clientID string) (code int, err error) {
	w.mu.Lock()
	prt := w.prt
	w.mu.Unlock()
	if prt == "" {
		return 0, errors.New("the wiretap saw no PRT")
	}
	form := url.Values{
		"grant_type":    {"refresh_token"},
		"client_id":     {clientID},
		"refresh_token": {prt},
		"resource":      {"https://graph.microsoft.com"},
	}
	req, err := http.NewRequest(http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := w.next.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var reply struct {
		Codes []int `json:"error_codes"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&reply); err != nil {
		return 0, err
	}
	if resp.StatusCode == http.StatusOK || len(reply.Codes) == 0 {
		return 0, fmt.Errorf("the service answered a stolen PRT with status %d", resp.StatusCode)
	}
	return reply.Codes[0], nil
}
