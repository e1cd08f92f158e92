package sts

import (
	"context"
	"net/http"
	"strings"

	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
)

// RegistrationError reads an error of the registration service, whose codes
// are words. What they mean is documented for dsregcmd only in parts.
func RegistrationError(r *Reply) *Error {
	reply := prt.ParseError(r.Status, r.Body)
	e := refusal(reply, r, ByDevice)
	if e.Code != 0 {
		return e
	}
	text := strings.ToLower(reply.Code + " " + reply.Description)
	switch {
	case strings.Contains(text, "devicecapreached"), strings.Contains(text, "quota"):
		e.Verdict, e.Detail = aadsts.Blocked, "the user has as many devices as the tenant allows"
	case strings.Contains(text, "mfa"), strings.Contains(text, "multi-factor"), strings.Contains(text, "strong auth"):
		e.Verdict, e.Detail = aadsts.Interact, "the tenant asks for MFA to register a device"
	case r.Status == http.StatusForbidden, strings.EqualFold(reply.Code, "AuthorizationError"):
		e.Verdict, e.Detail = aadsts.Blocked, "the user may not register devices"
	case r.Status == http.StatusUnauthorized, strings.EqualFold(reply.Code, "AuthenticationError"):
		e.Verdict, e.Detail = aadsts.Interact, "the registration service did not take the token"
	case strings.EqualFold(reply.Code, "DirectoryError"):
		e.Verdict, e.Detail = aadsts.Retry, "the directory does not have what the request names, or not yet"
	case r.Status < 500 && r.Status != http.StatusTooManyRequests:
		e.Verdict, e.Detail = aadsts.Fail, "the registration service refused the request"
	}
	return e
}

// Register sends a request that makes a device, or a key of an account, once,
// and returns the successful reply.
func (c *Client) Register(ctx context.Context, method, address string, body []byte, token prt.Secret, account string) (*Reply, error) {
	r, err := c.Do(ctx, Request{
		Method:      method,
		URL:         address,
		ContentType: "application/json",
		Body:        body,
		Bearer:      token,
		Once:        true,
		Endpoint:    Registration,
		From:        From{Account: account},
	})
	if err != nil {
		return nil, err
	}
	if !r.OK() {
		return nil, RegistrationError(r)
	}
	return r, nil
}

// DeleteDevice removes the device whose certificate the transport shows. Its
// verdict is DeviceGone when the service takes the certificate and has no such
// device, as after a removal whose reply was lost.
func (c *Client) DeleteDevice(ctx context.Context, address string, t Transport) error {
	r, err := c.Do(ctx, Request{Method: http.MethodDelete, URL: address, Transport: t, Once: true, Endpoint: Removal})
	if err != nil || r.OK() {
		return err
	}
	e := RegistrationError(r)
	if strings.EqualFold(e.OAuth, "DirectoryError") {
		e.Verdict, e.Detail = aadsts.DeviceGone, "the directory does not have this device: ForgetDevice deletes the registration here"
	}
	return e
}

// DeleteKey removes an account's Hello key. It is not an error if the service
// does not have it.
func (c *Client) DeleteKey(ctx context.Context, address string, token prt.Secret, account string) error {
	r, err := c.Do(ctx, Request{Method: http.MethodDelete, URL: address, Bearer: token, Once: true, Endpoint: Removal, From: From{Account: account}})
	if err == nil && !r.OK() && r.Status != http.StatusNotFound {
		return RegistrationError(r)
	}
	return err
}
