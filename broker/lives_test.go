package broker_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/prt"
)

// A course is the operations of a machine's life, in their order. The golden trace
// writes down what each sends, and the fault matrix disturbs all of that.
type course struct {
	name       string
	configure  func(*broker.Config)
	operations []stage
}

// A stage is a call of the broker in the state that those before it left.
type stage struct {
	name    string
	between bool // not the broker's doing; what happens before the next one
	cut     bool // no request arrives
	// warm is what the process must have done before, if it has just opened the
	// state. Nil: nothing.
	warm func(context.Context, *life) error
	do   func(context.Context, *life) error
}

// A life is a machine at some point of a course.
type life struct {
	*world
	acct     broker.Account      // who signed in last
	imported broker.DeviceImport // a registration that another program made
	computer []byte              // the certificate of the computer, for its directory
}

// begin starts a life on a machine without state.
func (c course) begin(t testing.TB, changes ...change) *life {
	t.Helper()
	w := newWorld(t, append([]change{withFederation()}, changes...)...)
	w.cfg.Offline = aWeek
	if c.configure != nil {
		c.configure(&w.cfg)
	}
	w.reopen()
	return &life{world: w}
}

// signIn is an operation that signs somebody in.
func signIn(name string, cred func(*life) broker.Credential) stage {
	return stage{name: name, do: func(ctx context.Context, l *life) error {
		res, err := l.b.SignIn(ctx, cred(l))
		if err == nil {
			l.acct = res.Account
		}
		return err
	}}
}

func signInAs(name string, cred broker.Credential) stage {
	return signIn(name, func(*life) broker.Credential { return cred })
}

func silently(name string, scopes []string, opts ...broker.CallOption) stage {
	return stage{name: name, do: func(ctx context.Context, l *life) error {
		_, err := l.b.AcquireTokenSilent(ctx, scopes, opts...)
		return err
	}}
}

func interactively(name string, scopes []string) stage {
	return stage{name: name, do: func(ctx context.Context, l *life) error {
		_, err := l.b.AcquireTokenInteractive(ctx, scopes)
		return err
	}}
}

func registers(name string, cred broker.Credential) stage {
	return stage{name: name, do: func(ctx context.Context, l *life) error {
		_, err := l.b.RegisterDevice(ctx, broker.RegisterRequest{Credential: cred})
		return err
	}}
}

func unlocks(name string, pin broker.PIN) stage {
	return stage{name: name, do: func(ctx context.Context, l *life) error {
		_, err := l.b.Unlock(ctx, l.acct, pin)
		return err
	}}
}

// call is an operation of which only the error matters.
func call(name string, do func(context.Context, *life) error) stage {
	return stage{name: name, do: do}
}

// between is what happens outside the broker.
func between(do func(*life) error) stage {
	return stage{between: true, do: func(_ context.Context, l *life) error { return do(l) }}
}

var byPassword = broker.Password{Username: alice, Password: password}

// lives are the courses that between them call every public method.
var lives = []course{
	{name: "a device and its user", operations: []stage{
		registers("RegisterDevice", byPassword),
		signInAs("SignIn, password", byPassword),
		silently("AcquireTokenSilent, the first", graph),
		silently("AcquireTokenSilent, from memory", graph),
		silently("AcquireTokenSilent, forced", graph, broker.WithForceRefresh()),
		silently("AcquireTokenSilent, a plain app's own claims", open, broker.WithClaims(`{"access_token":{"xms_cc":{"values":["cp1"]}}}`)),
		silently("AcquireTokenSilent, WithCAE", open, broker.WithCAE()),
		silently("AcquireTokenSilent, MFA is missing", payroll),
		interactively("AcquireTokenInteractive, a step-up", payroll),
		silently("AcquireTokenSilent, after the step-up", ledger),
		silently("AcquireTokenSilent, bound to a key", open, broker.WithPoP(broker.PoP{Method: "GET", URL: "https://open.example/"})),
		call("SignedHTTPRequest", func(ctx context.Context, l *life) error {
			res, err := l.b.AcquireTokenSilent(ctx, open, broker.WithPoP(broker.PoP{Method: "GET", URL: "https://open.example/"}))
			if err != nil {
				return err
			}
			_, err = l.b.SignedHTTPRequest(ctx, res.AccessToken, broker.PoP{Method: "GET", URL: "https://open.example/"})
			return err
		}),
		call("SSOCookies", func(ctx context.Context, l *life) error {
			_, err := l.b.SSOCookies(ctx, "https://login.microsoftonline.com/common/oauth2/authorize?sso_nonce=AwABnonce")
			return err
		}),
		call("RenewPRT", func(ctx context.Context, l *life) error {
			l.clock.Advance(5 * time.Hour)
			return l.b.RenewPRT(ctx, l.acct)
		}),
		call("Run", runOnce),
		call("Accounts", func(ctx context.Context, l *life) error { _, err := l.b.Accounts(ctx); return err }),
		call("Status", func(ctx context.Context, l *life) error { _, err := l.b.Status(ctx); return err }),
		call("PRTStatus", func(ctx context.Context, l *life) error { _, err := l.b.PRTStatus(ctx, l.acct); return err }),
		call("Why", func(ctx context.Context, l *life) error {
			_, err := l.b.Why(ctx, broker.WhyInput{Scopes: payroll})
			return err
		}),
		call("Preflight", func(ctx context.Context, l *life) error {
			_, err := l.b.Preflight(ctx, broker.WhyInput{Scopes: payroll})
			return err
		}),
		call("SignInLog", func(ctx context.Context, l *life) error { _, err := l.b.SignInLog(ctx, l.acct); return err }),
		call("PoPKeyID", func(ctx context.Context, l *life) error { _, err := l.b.PoPKeyID(ctx); return err }),
		signInAs("SignIn, on the page with MFA", broker.AuthCode{LoginHint: alice, MFA: true}),
		call("ProvisionHello", func(ctx context.Context, l *life) error { return l.b.ProvisionHello(ctx, l.acct, rightPIN) }),
		unlocks("Unlock", rightPIN),
		unlocks("Unlock, a wrong PIN", wrongPIN),
		signInAs("SignIn, by the PIN", broker.HelloPIN{PIN: rightPIN}),
		call("HelloStatus", func(ctx context.Context, l *life) error { _, err := l.b.HelloStatus(ctx, l.acct); return err }),
		call("ChangePIN", func(ctx context.Context, l *life) error { return l.b.ChangePIN(ctx, l.acct, rightPIN, otherPIN) }),
		{name: "Lock", warm: func(ctx context.Context, l *life) error {
			_, err := l.b.Unlock(ctx, l.acct, otherPIN)
			return err
		}, do: func(ctx context.Context, l *life) error { return l.b.Lock(ctx, l.acct) }},
		{name: "Unlock, without a network", cut: true, do: func(ctx context.Context, l *life) error {
			l.wire.set(func(*http.Request) error { return errCut }, nil)
			defer l.wire.set(nil, nil)
			_, err := l.b.Unlock(ctx, l.acct, otherPIN)
			return err
		}},
		call("ResetPIN", func(ctx context.Context, l *life) error {
			res, err := l.b.SignIn(ctx, broker.AuthCode{LoginHint: alice, MFA: true})
			if err != nil {
				return err
			}
			l.acct = res.Account
			return l.b.ResetPIN(ctx, l.acct, rightPIN)
		}),
		call("RemoveHello", func(ctx context.Context, l *life) error { return l.b.RemoveHello(ctx, l.acct) }),
		between(func(l *life) error { return l.b.Close() }),
		call("New", func(ctx context.Context, l *life) error {
			_ = l.b.Close()
			b, err := broker.New(ctx, l.cfg)
			if err != nil {
				return err
			}
			broker.SetSleep(b, l.sleep)
			l.t.Cleanup(func() { _ = b.Close() })
			l.b = b
			return nil
		}),
		silently("AcquireTokenSilent, in a new process", graph),
		call("RemoveAccount", func(ctx context.Context, l *life) error { return l.b.RemoveAccount(ctx, l.acct) }),
		call("UnregisterDevice", func(ctx context.Context, l *life) error { return l.b.UnregisterDevice(ctx) }),
		call("Enroll", func(ctx context.Context, l *life) error {
			res, err := l.b.Enroll(ctx, broker.AuthCode{LoginHint: alice}, broker.EnrollRequest{})
			if err == nil {
				l.acct = res.Account
			}
			return err
		}),
		call("ForgetDevice", func(ctx context.Context, l *life) error { return l.b.ForgetDevice(ctx) }),
	}},
	{name: "other ways to sign in", operations: []stage{
		registers("RegisterDevice, on the page", broker.AuthCode{LoginHint: alice}),
		signInAs("SignIn, a wrong password", broker.Password{Username: alice, Password: "wrong"}),
		signInAs("SignIn, device code", broker.DeviceCodeFlow{}),
		signInAs("SignIn, device code with MFA", broker.DeviceCodeFlow{MFA: true}),
		signIn("SignIn, refresh token", func(l *life) broker.Credential {
			return broker.RefreshToken{Token: l.brokerRefreshToken(l.t)}
		}),
		signInAs("SignIn, federated", broker.Federated{Username: dora, Password: password}),
		signInAs("SignIn, federated with a wrong password", broker.Federated{Username: dora, Password: "wrong"}),
		signInAs("SignIn, federated for a user who is not", broker.Federated{Username: alice, Password: password}),
		call("AcquireTokenByDeviceCode", func(ctx context.Context, l *life) error {
			dc, err := l.b.AcquireTokenByDeviceCode(ctx, open)
			if err != nil {
				return err
			}
			if err := l.person.ApproveDeviceCode(ctx, l.person.client, dc.UserCode); err != nil {
				return err
			}
			_, err = dc.AuthenticationResult(ctx)
			return err
		}),
	}},
	{name: "a hybrid device", operations: []stage{
		call("OnPremisesCertificate", func(ctx context.Context, l *life) (err error) {
			l.computer, err = l.b.OnPremisesCertificate(ctx, theComputer)
			return err
		}),
		between(func(l *life) error {
			cert, err := x509.ParseCertificate(l.computer)
			if err != nil {
				return err
			}
			return l.srv.SyncComputer(entratest.Computer{ID: computerID, SID: computerSID, Name: "PC-1", PublicKey: cert.PublicKey.(*rsa.PublicKey)})
		}),
		call("RegisterDevice, hybrid", func(ctx context.Context, l *life) error {
			_, err := l.b.RegisterDevice(ctx, broker.RegisterRequest{JoinType: prt.JoinHybrid, OnPremises: &theComputer})
			return err
		}),
	}},
	{name: "a registration of another program", operations: []stage{
		between(func(l *life) error {
			key, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				return err
			}
			p := l.registerElsewhere(l.t, prt.JoinEntra, key, nil)
			l.imported = broker.DeviceImport{Certificate: p.cert.DER, Key: pkcs8(l.t, key)}
			return nil
		}),
		call("ImportDevice", func(ctx context.Context, l *life) error {
			_, err := l.b.ImportDevice(ctx, l.imported)
			return err
		}),
	}},
	{name: "no device", configure: func(c *broker.Config) { c.AllowUnbound = true }, operations: []stage{
		signInAs("SignIn, without a device", broker.AuthCode{LoginHint: alice}),
		silently("AcquireTokenSilent, without a device", open),
		interactively("AcquireTokenInteractive, without a device", payroll),
	}},
}

var theComputer = broker.OnPremises{ObjectID: computerID, SID: computerSID}

// runOnce runs Run until it has nothing to do for a minute.
func runOnce(ctx context.Context, l *life) error {
	l.clock.Advance(5 * time.Hour)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	broker.SetSleep(l.b, func(ctx context.Context, d time.Duration) error {
		if d >= time.Minute { // between two tries of a request it waits for seconds
			stop()
		}
		return l.sleep(ctx, d)
	})
	defer broker.SetSleep(l.b, l.sleep)
	if err := l.b.Run(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
