package main

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest"
)

// event is what a button does. It says in one line what was done.
type event func(d *dashboard, form url.Values) (string, error)

var events = map[string]event{
	"change-password": withPassword("%s changed the password", func(d *dashboard, user, pw string) error { return d.srv.ChangePassword(user, pw) }),
	"reset-password":  withPassword("an administrator reset the password of %s", func(d *dashboard, user, pw string) error { return d.srv.ResetPassword(user, pw) }),
	"expire-password": onUser("the password of %s expired", func(d *dashboard, user string) error { return d.srv.ExpirePassword(user) }),
	"revoke":          onUser("all sessions of %s were revoked", func(d *dashboard, user string) error { return d.srv.Revoke(user) }),
	"disable-user":    onUser("%s was disabled", func(d *dashboard, user string) error { return d.srv.DisableUser(user) }),
	"enable-user":     onUser("%s was enabled", func(d *dashboard, user string) error { return d.srv.EnableUser(user) }),
	"delete-user":     onUser("%s was deleted", func(d *dashboard, user string) error { return d.srv.DeleteUser(user) }),
	"risk":            setRisk,

	"disable-device":       onDevice("device %s was disabled", func(d *dashboard, id string) error { return d.srv.DisableDevice(id) }),
	"enable-device":        onDevice("device %s was enabled", func(d *dashboard, id string) error { return d.srv.EnableDevice(id) }),
	"delete-device":        onDevice("device %s was deleted", func(d *dashboard, id string) error { return d.srv.DeleteDevice(id) }),
	"compliant-device":     onDevice("device %s became compliant", func(d *dashboard, id string) error { return d.srv.SetCompliant(id, true) }),
	"non-compliant-device": onDevice("device %s became non-compliant", func(d *dashboard, id string) error { return d.srv.SetCompliant(id, false) }),

	"withdraw-consent": func(d *dashboard, form url.Values) (string, error) {
		user, client := form.Get("user"), form.Get("client")
		return user + " withdrew the consent to " + d.srv.AppName(client), d.srv.WithdrawConsent(user, client)
	},

	"sync-computer": syncComputer,

	"answer":   answerNumber,
	"clock":    moveClock,
	"policies": setPolicies,
	"reset":    reset,
}

func reset(d *dashboard, _ url.Values) (string, error) {
	return "the tenant was put back to its start", d.srv.Reset()
}

func onUser(text string, do func(d *dashboard, user string) error) event {
	return func(d *dashboard, form url.Values) (string, error) {
		user := form.Get("user")
		return fmt.Sprintf(text, user), do(d, user)
	}
}

func withPassword(text string, do func(d *dashboard, user, password string) error) event {
	return func(d *dashboard, form url.Values) (string, error) {
		user, password := form.Get("user"), form.Get("password")
		if password == "" {
			return "", errors.New("type the new password first")
		}
		return fmt.Sprintf(text, user), do(d, user, password)
	}
}

func setRisk(d *dashboard, form url.Values) (string, error) {
	user, risk, signIn := form.Get("user"), form.Get("user-risk"), form.Get("sign-in-risk")
	return fmt.Sprintf("the risk of %s is %s, of the next sign-ins %s", user, risk, signIn), d.srv.SetRisk(user, risk, signIn)
}

func onDevice(text string, do func(d *dashboard, id string) error) event {
	return func(d *dashboard, form url.Values) (string, error) {
		id := form.Get("device")
		name := id
		for _, dev := range d.srv.Devices() {
			if dev.ID == id && dev.DisplayName != "" {
				name = dev.DisplayName
			}
		}
		return fmt.Sprintf(text, name), do(d, id)
	}
}

// syncComputer does what directory synchronisation does with a computer of an
// Active Directory domain. The name in its self-signed certificate is its id.
func syncComputer(d *dashboard, form url.Values) (string, error) {
	block, _ := pem.Decode([]byte(form.Get("certificate")))
	if block == nil {
		return "", errors.New("paste the computer's certificate as PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", errors.New("the certificate cannot be read")
	}
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok {
		return "", errors.New("the certificate's key is not RSA")
	}
	c := entratest.Computer{ID: cert.Subject.CommonName, SID: form.Get("sid"), Name: form.Get("name"), PublicKey: key}
	return "the computer " + c.Name + " was synchronised", d.srv.SyncComputer(c)
}

// answerNumber answers a prompt as the authenticator app would.
func answerNumber(d *dashboard, form url.Values) (string, error) {
	user := form.Get("user")
	n, err := strconv.Atoi(form.Get("number"))
	if err != nil {
		return "", errors.New("type the number that the sign-in page shows")
	}
	if !d.srv.AnswerNumberMatch(user, n) {
		return "", errors.New("no sign-in of " + user + " is waiting for a number")
	}
	return user + " answered the prompt", nil
}

// maxMove limits a move of the clock: beyond it certificates expire.
const maxMove = 10 * 365 * 24 * time.Hour

func moveClock(d *dashboard, form url.Values) (string, error) {
	by, err := time.ParseDuration(form.Get("by"))
	if err != nil {
		return "", fmt.Errorf("%q is not a duration such as 90m or 336h", form.Get("by"))
	}
	if by > maxMove || by < -maxMove {
		return "", errors.New("the clock can be moved by at most 10 years")
	}
	d.clock.Advance(by)
	return "the clock was moved by " + duration(by), nil
}

func setPolicies(d *dashboard, form url.Values) (string, error) {
	text := form.Get("policies")
	if text == "" {
		return "all policies were removed", d.srv.SetPolicies(nil)
	}
	return "the policies were replaced", d.srv.SetPolicies(json.RawMessage(text))
}
