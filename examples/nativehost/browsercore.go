package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
)

// BrowserCore's messages: a request for the cookies of a page, and its reply.
type (
	coreReply struct {
		Response []coreCookie `json:"response"`
	}
	coreCookie struct {
		Name  string `json:"name"`
		Data  string `json:"data"`
		P3P   string `json:"p3pHeader"`
		Flags int    `json:"flags"`
	}
	coreFailure struct {
		Status      string         `json:"status"`
		Code        string         `json:"code"`
		Description string         `json:"description"`
		Ext         map[string]any `json:"ext"`
	}
)

// coreFlags is what Windows sends: secure, HTTP only and third-party cookies
// (INTERNET_COOKIE_THIRD_PARTY and others).
const coreFlags = 8256

func (h *host) browserCore(ctx context.Context, r request) any {
	cookies, err := h.coreCookies(ctx, r)
	if err != nil {
		return coreFailure{Status: "Fail", Code: "OSError", Description: err.Error(), Ext: map[string]any{"error": 0}}
	}
	return coreReply{cookies}
}

func (h *host) coreCookies(ctx context.Context, r request) ([]coreCookie, error) {
	if r.Method != "GetCookies" {
		return nil, fmt.Errorf("nativehost: no method %.32q: %w", r.Method, errors.ErrUnsupported)
	}
	ctx, cancel := context.WithTimeout(ctx, cookieLimit)
	defer cancel()
	if _, err := h.broker(ctx); err != nil {
		return nil, err
	}
	h.mu.Lock()
	client := h.client
	h.mu.Unlock()
	cookies, err := client.SSOCookies(ctx, r.URI)
	if err != nil {
		return nil, err
	}
	page, err := url.Parse(r.URI)
	if err != nil {
		return nil, err
	}
	out := make([]coreCookie, len(cookies))
	for i, c := range cookies {
		out[i] = coreCookie{
			Name: c.Name, Data: c.Value + "; path=/; domain=" + page.Hostname() + "; secure; httponly",
			P3P: `CP="CAO DSP COR ADMa DEV CONo TELo CUR PSA PSD TAI IVDo OUR SAMi BUS DEM NAV STA UNI COM INT PHY ONL FIN PUR LOCi CNT"`, Flags: coreFlags,
		}
	}
	return out, nil
}
