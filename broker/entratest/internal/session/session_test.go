package session_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/seal"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/totp"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
	"github.com/prtbroker/prtbroker/claims"
)

const secret = "JBSWY3DPEHPK3PXP"

type world struct {
	*session.Keeper
	now time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	rand := ids.NewSource(1)
	dir, err := directory.New([]directory.TenantSpec{{
		Domain: "contoso.example", DisplayName: "Contoso", Federated: []string{"fed.example"},
		Users: []directory.UserSpec{
			{Username: "alice", Password: "pw", TOTPSecret: secret, NumberMatch: true, Phone: "+49 30 1234567"},
			{Username: "bob@fed.example", Password: "pw"}, {Username: "carol"},
		},
	}, {Domain: "other.example"}}, 5, rand)
	require.NoError(t, err)
	w := &world{now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
	w.Keeper = &session.Keeper{
		Directory: dir, Rand: rand, Now: func() time.Time { return w.now }, Logf: t.Logf,
		Box: seal.New(rand.Bytes(32), rand), Pending: session.NewPending(),
		TTL: session.TTL{Nonce: 5 * time.Minute, TAP: time.Hour, Prompt: time.Minute, Message: 3 * time.Minute},
	}
	return w
}

func (w *world) user(name string) *directory.User {
	return w.Directory.User(w.Directory.Qualify(name))
}

// code is the AADSTS code of an error; zero: none.
func code(err error) int {
	if err == nil {
		return 0
	}
	return web.AsSTSError(err).Code
}

func TestPasswords(t *testing.T) {
	w := newWorld(t)
	const alice = "alice@contoso.example"
	check := func(tenant *directory.Tenant, name, password string) int {
		_, err := w.CheckPassword(tenant, name, password)
		return code(err)
	}
	require.Zero(t, check(nil, alice, "pw"))
	require.Zero(t, check(w.Directory.Home(), alice, "pw"))
	require.Equal(t, 50126, check(nil, alice, "wrong"))
	require.Equal(t, 50126, check(nil, "carol@contoso.example", ""), "without a password nothing is right")
	require.Equal(t, 50126, check(nil, "bob@fed.example", "pw"), "the sign-in service does not see a federated password")
	require.Equal(t, 50034, check(nil, "mallory@contoso.example", "pw"))
	require.Equal(t, 50034, check(nil, "alice@nowhere.example", "pw"))
	require.Equal(t, 50034, check(w.Directory.Tenant("other.example"), alice, "pw"))

	require.NoError(t, w.Directory.ExpirePassword(alice))
	require.Equal(t, 50055, check(nil, alice, "pw"))
	_, err := w.KnowsPassword(nil, alice, "pw")
	require.NoError(t, err)
	require.NoError(t, w.Directory.ChangePassword(alice, "pw", w.now))

	for range 9 {
		require.Equal(t, 50126, check(nil, alice, "wrong"))
	}
	require.Zero(t, check(nil, alice, "pw"), "a right one starts the count again")
	for range 10 {
		require.Equal(t, 50126, check(nil, alice, "wrong"))
	}
	require.Equal(t, 50053, check(nil, alice, "pw"), "locked out")
	w.now = w.now.Add(time.Minute)
	require.Zero(t, check(nil, alice, "pw"))
	require.NoError(t, w.Directory.SetUserEnabled(alice, false, w.now))
	require.Equal(t, 50057, check(nil, alice, "pw"))
}

// What ends a session, and what does not.
func TestSessionEnds(t *testing.T) {
	const alice = "alice@contoso.example"
	for name, c := range map[string]struct {
		happens           func(w *world, byPassword, byKey *session.Session) error
		byPassword, byKey int
	}{
		"nothing":            {func(*world, *session.Session, *session.Session) error { return nil }, 0, 0},
		"a password change":  {func(w *world, _, _ *session.Session) error { return w.Directory.ChangePassword(alice, "next", w.now) }, 50173, 0},
		"a password reset":   {func(w *world, _, _ *session.Session) error { return w.Directory.ResetPassword(alice, "next", w.now) }, 50173, 50173},
		"a revocation":       {func(w *world, _, _ *session.Session) error { return w.Directory.Revoke(alice, w.now) }, 50173, 50173},
		"a disabled user":    {func(w *world, _, _ *session.Session) error { return w.Directory.SetUserEnabled(alice, false, w.now) }, 50057, 50057},
		"a deleted user":     {func(w *world, _, _ *session.Session) error { return w.Directory.DeleteUser(alice) }, 50034, 50034},
		"an end of the pass": {func(w *world, _, k *session.Session) error { k.Ends = w.now.Unix(); return nil }, 0, 130504},
	} {
		w := newWorld(t)
		a, b := w.NewSession(w.user("alice"), claims.Password), w.NewSession(w.user("alice"), claims.WindowsHello)
		a.Password = true
		require.NoError(t, c.happens(w, &a, &b), name)
		_, err := w.UserOf(&a)
		require.Equal(t, c.byPassword, code(err), name)
		_, err = w.UserOf(&b)
		require.Equal(t, c.byKey, code(err), name)
	}
}

func TestSessionDevice(t *testing.T) {
	w := newWorld(t)
	ss := w.NewSession(w.user("alice"), claims.Password)
	dev, err := w.DeviceOf(&ss)
	require.NoError(t, err)
	require.Nil(t, dev)
	ss.Device = "d1"
	_, err = w.DeviceOf(&ss)
	require.Equal(t, 50155, code(err))
	require.NoError(t, w.Directory.AddDevice(&directory.Device{Tenant: w.Directory.Home(), ID: "d1", Enabled: true}))
	dev, err = w.DeviceOf(&ss)
	require.NoError(t, err)
	require.Equal(t, "d1", dev.ID)
	require.NoError(t, w.Directory.SetDeviceEnabled("d1", false, w.now))
	_, err = w.DeviceOf(&ss)
	require.Equal(t, 135011, code(err))
}

func TestEvidence(t *testing.T) {
	w := newWorld(t)
	ss := w.NewSession(w.user("alice"), claims.Password)
	require.Equal(t, []string{"pwd"}, ss.AMR(false))
	require.True(t, ss.MFATime().IsZero())
	ss.ProveMFA(claims.SoftwareOATH, w.now)
	require.Equal(t, []string{"pwd", "mfa", "ngcmfa"}, ss.AMR(true))
	require.True(t, ss.FreshMFA(w.now.Add(time.Minute), 10*time.Minute))
	require.False(t, ss.FreshMFA(w.now.Add(time.Hour), 10*time.Minute))
	require.Equal(t, w.now.Unix(), ss.AuthTime().Unix())

	mfa := ss.MFA
	w.now = w.now.Add(time.Hour)
	again := w.NewSession(w.user("alice"), claims.Password)
	ss.UnlockedBy(&again)
	require.Equal(t, w.now.Unix(), ss.Auth, "the same credential moves its own time")
	require.Equal(t, mfa, ss.MFA, "and not that of MFA")
	hello := w.NewSession(w.user("alice"), claims.WindowsHello)
	sid := ss.SID
	ss.UnlockedBy(&hello)
	require.Zero(t, ss.Methods&claims.Password, "another credential takes its place: evidence is not mixed")
	require.Equal(t, sid, ss.SID)

	entry := &directory.LogEntry{}
	session.LogUser(entry, w.user("alice"), &ss)
	require.Equal(t, "alice@contoso.example", entry.Username)
}

func TestNonces(t *testing.T) {
	w := newWorld(t)
	nonce := w.NewNonce()
	require.Nil(t, w.CheckNonce(nonce))
	require.Nil(t, w.CheckNonce(nonce), "it may be used until it expires")
	require.Equal(t, 140000, w.CheckNonce("").Code)
	require.Contains(t, w.CheckNonce("x"+nonce).Why, "was not issued by this server")
	w.now = w.now.Add(6 * time.Minute)
	require.Contains(t, w.CheckNonce(nonce).Why, "expired")
}

func TestFlows(t *testing.T) {
	w := newWorld(t)
	age := int64(60)
	fl := &session.Flow{Request: session.AuthRequest{Tenant: "common", Client: "c", MaxAge: &age}, Username: "alice"}
	text := w.SealFlow(fl)
	got, err := w.OpenFlow(text)
	require.NoError(t, err)
	require.Equal(t, fl, got)
	require.Nil(t, w.FlowTenant(got))
	got.Request.Tenant = "other.example"
	require.Equal(t, "other.example", w.FlowTenant(got).Domain)
	_, err = w.OpenFlow("x" + text)
	require.Equal(t, 90014, code(err))
	w.now = w.now.Add(15 * time.Minute)
	_, err = w.OpenFlow(text)
	require.Equal(t, 50089, code(err))

	ss := w.NewSession(w.user("alice"), claims.Password)
	require.False(t, fl.Request.TooOld(&ss, w.now))
	require.True(t, fl.Request.TooOld(&ss, w.now.Add(time.Minute)))
	ss.Device = "d1"
	fl.Session, fl.SSO = &ss, true
	fl.SignOut()
	require.Nil(t, fl.Session)
	require.Equal(t, "d1", fl.Device, "whoever signs in next does so on that device")

	require.NoError(t, (*session.Failure)(nil).Err())
	require.Equal(t, 135003, code((&session.Failure{Code: 135003}).Err()))
}

func TestAccessPasses(t *testing.T) {
	w := newWorld(t)
	const carol = "carol@contoso.example"
	take := func(value string) int {
		_, _, err := w.TakeAccessPass(carol, value)
		return code(err)
	}
	require.Equal(t, 130503, take(""), "there is none")
	many, err := w.CreateAccessPass("carol", false)
	require.NoError(t, err)
	require.Zero(t, take(many))
	require.Zero(t, take(many))
	once, err := w.CreateAccessPass("carol", true)
	require.NoError(t, err)
	require.Equal(t, 130503, take(many), "replaced")
	_, ss, err := w.TakeAccessPass(carol, once)
	require.NoError(t, err)
	require.NotZero(t, ss.MFA, "it is MFA")
	require.Equal(t, w.now.Add(time.Hour).Unix(), ss.Ends)
	require.Equal(t, 130502, take(once), "used up")
	late, err := w.CreateAccessPass("carol", true)
	require.NoError(t, err)
	w.now = w.now.Add(time.Hour)
	require.Equal(t, 130504, take(late))
	_, _, err = w.TakeAccessPass("mallory@contoso.example", late)
	require.Equal(t, 50034, code(err))
}

func TestSecondFactors(t *testing.T) {
	w := newWorld(t)
	u := w.user("alice")
	ss := w.NewSession(u, claims.Password)
	fl := &session.Flow{Session: &ss}
	var got []string
	for _, f := range session.SecondFactors(u, fl) {
		got = append(got, f.ID)
	}
	require.Equal(t, []string{session.MethodNumber, session.MethodCode, session.MethodSMS, session.MethodVoice}, got, "best first")
	fl.Accept = []string{"password,softwareOath"}
	require.Len(t, session.SecondFactors(u, fl), 1, "what the strength takes")
	fl.Accept = nil
	require.False(t, session.HasSecondFactor(w.user("carol")))
	require.True(t, session.HasSecondFactor(u))
	require.Equal(t, "+XX XX XXXXX67", session.Masked(u.Phone))

	raw, err := totp.Secret(secret)
	require.NoError(t, err)
	now := totp.Code(raw, uint64(w.now.Unix())/totp.Step)
	require.Equal(t, 500121, code(w.TakeFactor(fl, u, session.MethodCode, "000000")))
	require.NoError(t, w.TakeFactor(fl, u, session.MethodCode, now))
	require.NotZero(t, ss.MFA)
	require.NoError(t, w.TakeFactor(fl, u, session.MethodCode, now))
	w.RefuseTOTPReuse = true
	require.NoError(t, w.TakeFactor(fl, u, session.MethodCode, now))
	require.Equal(t, 500121, code(w.TakeFactor(fl, w.user("alice"), session.MethodCode, now)), "used before (RFC 6238, 5.2)")
	require.Equal(t, 500121, code(w.TakeFactor(fl, u, session.MethodHardware, now)), "the user has none")
}

func TestPrompts(t *testing.T) {
	w := newWorld(t)
	u := w.user("alice")
	ss := w.NewSession(u, claims.Password)
	fl := &session.Flow{Session: &ss}

	p := w.PromptFor(fl, u, session.PromptNumber)
	require.Equal(t, p.ID, w.PromptFor(fl, u, session.PromptNumber).ID, "one waits")
	require.Equal(t, 1, fl.Prompts)
	require.ErrorIs(t, w.TakeFactor(fl, u, session.MethodNumber, ""), session.ErrPromptWaits)
	require.True(t, w.Pending.PromptWaits(u.ID, w.now))
	require.True(t, w.Pending.AnswerNumber(u.ID, p.Number, w.now))
	require.NoError(t, w.TakeFactor(fl, u, session.MethodNumber, ""))
	require.Equal(t, 500121, code(w.TakeFactor(fl, u, session.MethodNumber, "")), "once")

	p = w.PromptFor(fl, u, session.PromptNumber)
	require.True(t, w.Pending.AnswerNumber(u.ID, p.Number+1, w.now), "a wrong number declines")
	require.Equal(t, 500121, code(w.TakeFactor(fl, u, session.MethodNumber, "")))
	require.False(t, w.Pending.AnswerNumber(u.ID, p.Number, w.now))

	p = w.PromptFor(fl, u, session.PromptCall)
	require.ErrorIs(t, w.TakeFactor(fl, u, session.MethodVoice, ""), session.ErrCallWaits)
	require.True(t, w.Pending.Answer(p.ID, true, w.now))
	require.NoError(t, w.TakeFactor(fl, u, session.MethodVoice, ""))

	p = w.PromptFor(fl, u, session.PromptMessage)
	require.NoError(t, w.TakeFactor(fl, u, session.MethodSMS, p.Code))
	p = w.PromptFor(fl, u, session.PromptMessage)
	for range 5 {
		require.Equal(t, 500121, code(w.TakeFactor(fl, u, session.MethodSMS, "x")))
	}
	require.Equal(t, 500121, code(w.TakeFactor(fl, u, session.MethodSMS, p.Code)), "five wrong codes void it")

	fl.Prompt = ""
	p = w.PromptFor(fl, u, session.PromptNumber)
	w.now = w.now.Add(2 * time.Minute)
	require.False(t, p.Waits(w.now))
	require.Contains(t, w.TakeFactor(fl, u, session.MethodNumber, "").Error(), "not answered in time")
	require.Empty(t, w.Pending.Waiting(w.now))
	require.Nil(t, w.Pending.Prompt("none"))
}

func TestDeviceCodes(t *testing.T) {
	w := newWorld(t)
	w.Pending.AddDeviceLogin(&session.DeviceLogin{DeviceCode: "d", UserCode: "U", Expires: w.now.Unix() + 60}, w.now)
	got, ok := w.Pending.DeviceLoginOf("U")
	require.True(t, ok)
	require.Equal(t, session.LoginPending, got.State)
	require.True(t, w.Pending.Settle("d", session.LoginPending, session.LoginApproved, session.Session{User: "u"}))
	require.False(t, w.Pending.Settle("d", session.LoginPending, session.LoginApproved, session.Session{}), "once")
	got, _ = w.Pending.DeviceLogin("d")
	require.Equal(t, "u", got.Session.User)
	_, ok = w.Pending.DeviceLogin("x")
	require.False(t, ok)

	require.True(t, w.Pending.Redeem("code", w.now.Unix()+60, w.now))
	require.False(t, w.Pending.Redeem("code", w.now.Unix()+60, w.now))
	second := session.NewPending()
	second.RestoreRedeemed(w.Pending.RedeemedCodes())
	require.False(t, second.Redeem("code", w.now.Unix()+60, w.now), "a later server knows")
	later := w.now.Add(3 * time.Hour)
	for i := range 256 {
		second.Redeem(string(rune('a'+i)), later.Unix()+60, later)
	}
	require.NotContains(t, second.RedeemedCodes(), "code", "what expired goes")
}
