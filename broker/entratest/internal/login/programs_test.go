package login_test

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/seal"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/totp"
	"github.com/prtbroker/prtbroker/claims"
)

// What programs that have no browser, or that are one, say to the pages.

func code(t *testing.T, at time.Time) string {
	t.Helper()
	raw, err := totp.Secret(secret)
	require.NoError(t, err)
	return totp.Code(raw, uint64(at.Unix())/totp.Step)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func compact(t *testing.T, header, claims map[string]any, sign func(signed []byte) []byte) string {
	t.Helper()
	h, err := json.Marshal(header)
	require.NoError(t, err)
	c, err := json.Marshal(claims)
	require.NoError(t, err)
	text := b64(h) + "." + b64(c)
	return text + "." + b64(sign([]byte(text)))
}

func rs256(key *rsa.PrivateKey) func([]byte) []byte {
	return func(signed []byte) []byte {
		sum := sha256.Sum256(signed)
		sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		if err != nil {
			panic(err) // a key of these tests
		}
		return sig
	}
}

func TestBeginAndEndAuth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	begin := func(page *reply, method string) *reply {
		return w.json(page.str("urlBeginAuth"), map[string]any{"AuthMethodId": method, "Ctx": page.str("sCtx")})
	}
	end := func(b *reply, method, code string) *reply {
		return w.json("/common/SAS/EndAuth", map[string]any{"AuthMethodId": method, "Ctx": b.str("Ctx"), "AdditionalAuthData": code})
	}
	finish := func(e *reply) *reply { return w.post("/common/SAS/ProcessAuth", "request", e.str("Ctx")) }

	page := w.typed("alice", "amr_values", "mfa")
	require.Equal(t, "ConvergedTFA", page.page())
	require.Equal(t, "MethodNotSupported", begin(page, "OneWaySMS").str("ResultValue"))
	b := begin(page, "PhoneAppOTP")
	require.Equal(t, true, b.config["Success"])
	require.Equal(t, "AuthenticationFailed", end(b, "PhoneAppOTP", "000000").str("ResultValue"))
	e := end(b, "PhoneAppOTP", code(t, w.now))
	require.Equal(t, "Success", e.str("ResultValue"))
	require.NotEmpty(t, finish(e).location(t).Get("code"))

	page = w.typed("carol", "amr_values", "mfa")
	b = begin(page, "PhoneAppNotification")
	poll := func() *reply {
		return w.get("/common/SAS/EndAuth?authMethodId=PhoneAppNotification", "x-ms-ctx", b.str("Ctx"), "x-ms-sessionId", "s")
	}
	require.Equal(t, "AuthenticationPending", poll().str("ResultValue"))
	require.Equal(t, true, poll().config["Retry"])
	number, err := strconv.Atoi(strings.TrimSpace(strings.Split(strings.SplitN(page.body, `data-number="`, 2)[1], `"`)[0]))
	require.NoError(t, err)
	require.EqualValues(t, number, b.config["Entropy"], "the page and the program show one prompt")
	require.True(t, w.Keeper.Pending.AnswerNumber(w.dir.User("carol@contoso.example").ID, number, w.now))
	require.NotEmpty(t, finish(poll()).location(t).Get("code"))

	require.Equal(t, 400, w.json("/common/SAS/BeginAuth", "no object").status)
	require.Equal(t, 400, w.json("/common/SAS/BeginAuth", map[string]any{"Ctx": "x"}).status)
}

// The user may take another second factor, and ask for another prompt; one that
// failed does not ring again by itself.
func TestOtherFactor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sms := w.typed("erin", "amr_values", "mfa")
	require.Contains(t, sms.body, "text message")
	require.NotContains(t, sms.body, phone, "the number is masked")
	call := w.post("/common/SAS/ProcessAuth", "ctx", sms.str("sCtx"), "switch", "TwoWayVoiceMobile")
	require.NotNil(t, w.waiting("erin", session.PromptCall))
	waits := w.post("/common/SAS/ProcessAuth", "ctx", call.str("sCtx"), "mfaAuthMethod", "TwoWayVoiceMobile")
	require.NotEmpty(t, waits.str("sErrorCode"), waits.body)
	w.Keeper.Pending.Answer(w.waiting("erin", session.PromptCall).ID, false, w.now)
	declined := w.post("/common/SAS/ProcessAuth", "ctx", waits.str("sCtx"), "mfaAuthMethod", "TwoWayVoiceMobile")
	require.Equal(t, "ConvergedTFA 500121", declined.page())
	require.Nil(t, w.waiting("erin", session.PromptCall))
	require.Contains(t, declined.body, "Call me again")
	w.post("/common/SAS/ProcessAuth", "ctx", declined.str("sCtx"), "switch", "TwoWayVoiceMobile")
	require.NotNil(t, w.waiting("erin", session.PromptCall))
}

func TestPhoneSignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.get(start())
	ask := func(user string) *reply {
		return w.json(first.str("urlGetOneTimeCode"), map[string]any{"username": user + "@contoso.example", "originalRequest": first.str("sCtx")})
	}
	status := func(id string) any {
		r := w.json(first.str("urlSessionState"), map[string]any{"DeviceCode": id})
		require.Equal(t, 200, r.status)
		return r.config["AuthorizationState"]
	}
	post := func(id string) *reply {
		return w.post(first.str("urlPost"), "login", "carol@contoso.example", "psRNGCSLK", id, "ctx", first.str("sCtx"))
	}
	prompt := func() (id string, number int) {
		p := ask("carol").config["RemoteNgcParams"].(map[string]any)
		return p["SessionIdentifier"].(string), int(p["Entropy"].(float64))
	}
	require.Contains(t, ask("alice").config, "error")
	require.Equal(t, 400, w.json(first.str("urlGetOneTimeCode"), 1).status)
	require.Equal(t, 400, w.json(first.str("urlSessionState"), 1).status)
	require.Equal(t, 400, w.json(first.str("urlSessionState"), map[string]any{"DeviceCode": "x"}).status)
	require.Equal(t, "ConvergedSignIn 130500", w.post(first.str("urlPost"), "login", "alice@contoso.example", "credential", "phone", "ctx", first.str("sCtx")).page())

	id, n := prompt()
	require.EqualValues(t, 0, status(id))
	require.Equal(t, "ConvergedSignIn", strings.Fields(post(id).page())[0])
	carol := w.dir.User("carol@contoso.example").ID
	require.Equal(t, "Payroll", w.Keeper.Pending.Newest(carol, session.PromptSignIn, w.now).App)
	require.True(t, w.Keeper.Pending.AnswerNumber(carol, n, w.now))
	require.EqualValues(t, 2, status(id))
	require.Equal(t, claims.DeviceBasedPush, w.code(post(id).location(t)).Session.Methods.Modes())
	require.Equal(t, "ConvergedSignIn 500121", post(id).page(), "a prompt signs in once")

	second := w.Keeper.NewPrompt(w.dir.User("carol@contoso.example"), session.PromptNumber, "")
	require.True(t, w.Keeper.Pending.AnswerNumber(carol, second.Number, w.now))
	require.Equal(t, "ConvergedSignIn 500121", post(w.Keeper.Box.Seal(session.KindFlow, map[string]string{"prompt": second.ID, "user": carol})).page(),
		"a prompt for a second factor is not a first one")

	id, n = prompt()
	require.True(t, w.Keeper.Pending.AnswerNumber(carol, n+1, w.now))
	require.EqualValues(t, 1, status(id))
	require.Equal(t, "ConvergedSignIn 500121", post(id).page())
	id, _ = prompt()
	w.now = w.now.Add(2 * time.Minute)
	require.Contains(t, post(id).body, "in time")
}

func TestCredentialType(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.get(start())
	ask := func(user string, kv ...any) map[string]any {
		in := map[string]any{"username": user, "originalRequest": first.str("sCtx")}
		for i := 0; i < len(kv); i += 2 {
			in[kv[i].(string)] = kv[i+1]
		}
		r := w.json(first.str("urlGetCredentialType"), in)
		require.Equal(t, 200, r.status)
		return r.config
	}
	of := func(user string, kv ...any) map[string]any { return ask(user, kv...)["Credentials"].(map[string]any) }
	for user, exists := range map[string]float64{"alice@contoso.example": 0, "mallory@contoso.example": 1} {
		require.Equal(t, exists, ask(user)["IfExistsResult"], user)
	}
	require.Equal(t, true, of("alice@contoso.example")["HasPassword"])
	require.Equal(t, false, of("tom@contoso.example")["HasPassword"])
	require.Equal(t, true, of("tom@contoso.example", "isAccessPassSupported", true)["HasAccessPass"])
	require.Equal(t, true, of("dave@contoso.example")["HasFido"])
	require.NotNil(t, of("dave@contoso.example", "isFidoSupported", true)["FidoParams"])
	require.NotNil(t, of("carol@contoso.example", "isRemoteNGCSupported", true)["RemoteNgcParams"])
	require.NotNil(t, w.waiting("carol", session.PromptSignIn))
	require.Contains(t, of("flo@fed.example")["FederationRedirectUrl"], "https://sts.fed.example/adfs/ls/")
	require.EqualValues(t, 4, ask("flo@fed.example")["EstsProperties"].(map[string]any)["DomainType"])
	require.Contains(t, ask(""), "error")
	require.Contains(t, w.json("/GetCredentialType", map[string]any{"username": "tom@contoso.example", "isAccessPassSupported": true}).config, "error")
}

// A password is changed by a page, or by endpoints that make clients wait.
func TestChangePassword(t *testing.T) {
	t.Parallel()
	const next = "another horse"
	expired := func(t *testing.T) (*world, *reply) {
		w := newWorld(t)
		require.NoError(t, w.dir.ExpirePassword("alice@contoso.example"))
		page := w.typed("alice")
		require.Equal(t, "ConvergedChangePassword", page.page())
		return w, page
	}
	t.Run("by the page", func(t *testing.T) {
		w, page := expired(t)
		for _, tt := range []struct{ old, next, again, code string }{
			{"wrong", next, next, "120000"}, {password, password, password, "120002"}, {password, next, "x", "50064"},
			{password, "7 chars", "7 chars", "120002"}, {password, strings.Repeat("ä", 257), strings.Repeat("ä", 257), "120002"}, {password, "my Alice 26", "my Alice 26", "120003"},
		} {
			r := w.post("/common/ChangePassword", "ctx", page.str("sCtx"), "oldpasswd", tt.old, "newpasswd", tt.next, "confirmnewpasswd", tt.again)
			require.Equal(t, "ConvergedChangePassword "+tt.code, r.page(), tt.next)
			require.Equal(t, password, w.dir.User("alice@contoso.example").Password)
		}
		r := w.post("/common/ChangePassword", "ctx", page.str("sCtx"), "oldpasswd", password, "newpasswd", next, "confirmnewpasswd", next)
		require.NotEmpty(t, r.location(t).Get("code"), r.body)
		require.Equal(t, next, w.dir.User("alice@contoso.example").Password)
	})
	t.Run("by a program", func(t *testing.T) {
		w, page := expired(t)
		begin := func(next string) *reply {
			return w.json(page.str("urlAsyncSsprBegin"), map[string]any{"Ctx": page.str("sCtx"), "OldPassword": password, "NewPassword": next})
		}
		poll := func(b *reply) *reply {
			return w.json(page.str("urlAsyncSsprPoll"), map[string]any{"Ctx": b.str("Ctx")})
		}
		require.Equal(t, 400, w.json(page.str("urlAsyncSsprPoll"), map[string]any{"Ctx": page.str("sCtx")}).status, "nothing was begun")
		require.Equal(t, 400, w.json(page.str("urlAsyncSsprBegin"), 1).status)
		require.Equal(t, 400, w.json(page.str("urlAsyncSsprBegin"), map[string]any{"Ctx": w.get(start()).str("sCtx")}).status, "nobody was asked")
		b := begin("short")
		require.Equal(t, true, b.config["IsJobPending"])
		require.Contains(t, poll(b).config["ErrorMessage"], "between 8 and 256")
		b = begin(next)
		require.Nil(t, poll(b).config["ErrorMessage"])
		require.Equal(t, false, poll(b).config["IsJobPending"])
		require.Equal(t, "ConvergedMessage", w.json("/common/ChangePassword", map[string]any{"Ctx": poll(b).str("Ctx")}).page())
		require.NotEmpty(t, w.post("/common/ChangePassword", "ctx", poll(b).str("Ctx")).location(t).Get("code"), "a browser goes on")
	})
}

// assertion is what an authenticator signs (WebAuthn Level 2, 6.3.3), as the page
// sends it.
func (w *world) assertion(challenge string) string {
	w.t.Helper()
	client, err := json.Marshal(map[string]any{"type": "webauthn.get", "challenge": b64([]byte(challenge)), "origin": "https://login.microsoft.com"})
	require.NoError(w.t, err)
	rp := sha256.Sum256([]byte("login.microsoft.com"))
	data := binary.BigEndian.AppendUint32(append(rp[:], 5), 0)
	sum := sha256.Sum256(client)
	digest := sha256.Sum256(append(data, sum[:]...))
	sig, err := w.key.Sign(rand.Reader, digest[:], crypto.SHA256)
	require.NoError(w.t, err)
	out, err := json.Marshal(map[string]string{"id": b64([]byte("dave's")), "clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": b64(sig), "userHandle": ""})
	require.NoError(w.t, err)
	return string(out)
}

// A passkey belongs to another host than the pages: a form leads there and back to
// a sign-in host, and nowhere else.
func TestPasskeyHop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	page := w.typed("dave", "amr_values", "mfa")
	require.Equal(t, "ConvergedTFA", page.page())
	hop := func(back string) *reply {
		return w.post(page.str("urlFidoLogin"), "ctx", page.str("sCtx"), "postBackUrl", back, "resumeUrl", page.str("urlResume"), "username", "dave@contoso.example")
	}
	for _, back := range []string{"https://evil.example/", "//evil.example/x", "http://login.microsoftonline.com/common/login", "javascript:alert(1)", ""} {
		require.Equal(t, "ConvergedError 90023", hop(back).page(), back)
	}
	require.Equal(t, base+"/common/login", hop("/common/login").str("urlPost"))
	at := hop(page.str("urlPost"))
	require.Equal(t, "ConvergedFido", at.page())
	require.Equal(t, page.str("urlPost"), at.str("urlPost"))
	require.Equal(t, page.str("urlResume"), at.str("urlResume"))
	require.Equal(t, "ConvergedTFA", w.get(at.str("urlResume")).page(), "cancelled")

	wrong := w.post(at.str("urlPost"), "ctx", at.str("sCtx"), "assertion", w.assertion("another"))
	require.Equal(t, "ConvergedTFA 135003", wrong.page(), wrong.body)
	good := w.post(wrong.str("urlPost"), "ctx", wrong.str("sCtx"), "assertion", w.assertion(wrong.str("sFidoChallenge")))
	require.True(t, w.code(good.location(t)).Session.Methods.Has(claims.FIDO2))

	first := w.get(start())
	moved := w.post(first.str("urlPost"), "ctx", first.str("sCtx"), "login", "dave@contoso.example", "credential", "passkey")
	require.Contains(t, moved.header.Get("Location"), "https://login.microsoft.com/common/fido/get?ctx=")
	there := w.get(moved.header.Get("Location"))
	require.Equal(t, "ConvergedFido", there.page())
	require.Len(t, there.config["arrFidoAllowList"], 1)
	refused := w.post(there.str("urlPost"), "ctx", there.str("sCtx"), "assertion", "{")
	require.Equal(t, "ConvergedSignIn 135003", refused.page(), refused.body)
	require.Equal(t, 135003, w.last().ErrorCode)
}

// A browser that announces it proves its device by its certificate (MS-PKAP 3.1.5.1).
func TestPKeyAuth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.joined(true)
	w.policy(builtIn("compliantDevice"))
	agent := []string{"User-Agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) PKeyAuth/1.0"}
	first := w.get(start(), agent...)
	challenge := func() (context, nonce string) {
		r := w.do("POST", first.str("urlPost"), map[string][]string{"Content-Type": {"application/x-www-form-urlencoded"}, "X-Ms-Pkeyauth": {"1.0"}},
			"login=alice@contoso.example&passwd="+strings.ReplaceAll(password, " ", "+")+"&ctx="+first.str("sCtx"))
		require.Equal(t, 401, r.status, r.body)
		value := func(name string) string {
			_, rest, ok := strings.Cut(r.header.Get("WWW-Authenticate"), name+`="`)
			require.True(t, ok, name)
			v, _, _ := strings.Cut(rest, `"`)
			return v
		}
		require.Contains(t, value("CertAuthorities"), "MS-Organization-Access")
		return value("Context"), value("nonce")
	}
	answer := func(change func(header, claims map[string]any), key *rsa.PrivateKey) *reply {
		ctx, nonce := challenge()
		header := map[string]any{"alg": "RS256", "typ": "JWT", "x5c": []string{base64.StdEncoding.EncodeToString(w.cert)}}
		c := map[string]any{"aud": first.str("urlPost"), "nonce": nonce, "iat": strconv.FormatInt(w.now.Unix(), 10)}
		change(header, c)
		return w.get(first.str("urlPost"), "Authorization", `PKeyAuth AuthToken="`+compact(t, header, c, rs256(key))+`", Context="`+ctx+`", Version="1.0"`)
	}
	same := func(map[string]any, map[string]any) {}
	good := answer(same, deviceKey())
	require.Equal(t, w.device, w.code(good.location(t)).Session.Device)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for name, r := range map[string]*reply{
		"another key":      answer(same, other),
		"nonce":            answer(func(_, c map[string]any) { c["nonce"] = "x" }, deviceKey()),
		"audience":         answer(func(_, c map[string]any) { c["aud"] = "https://evil.example/" }, deviceKey()),
		"no certificate":   answer(func(h, _ map[string]any) { delete(h, "x5c") }, deviceKey()),
		"no claim for iat": answer(func(_, c map[string]any) { delete(c, "iat") }, deviceKey()),
	} {
		require.Equal(t, "ConvergedError 50099", r.page(), name)
	}
	ctx, _ := challenge()
	none := w.get(start(), "x-ms-PKeyAuth", "1.0", "Authorization", `PKeyAuth Context="`+ctx+`", Version="1.0"`)
	require.Equal(t, "ConvergedError 50097", none.page(), "there is no device, and no second challenge")
	require.Equal(t, "ConvergedError 90014", w.get(start(), "Authorization", `PKeyAuth Context="x"`).page())

	// The device that shows the page of a device code is not the one that gets the tokens.
	w.Keeper.Pending.AddDeviceLogin(&session.DeviceLogin{DeviceCode: "d", UserCode: "CODE", Client: app, Resource: "api://payroll", Expires: w.now.Add(time.Minute).Unix()}, w.now)
	first = w.post("/common/oauth2/deviceauth", "otc", "CODE")
	require.Equal(t, "ConvergedError 50097", answer(same, deviceKey()).page())
}

// prtCookie is x-ms-RefreshTokenCredential: a JWS under a key that is derived from
// the session key of a PRT, by SP 800-108 in counter mode (MS-OAPXBC 3.1.5.1.3.3),
// made here apart from the code of the server.
func (w *world) prtCookie(sessionKey []byte, nonce string) string {
	w.t.Helper()
	return w.cookie(session.KindPRT, sessionKey, nonce)
}

// cookie is that with another kind of refresh token.
func (w *world) cookie(kind seal.Kind, sessionKey []byte, nonce string) string {
	w.t.Helper()
	u := w.dir.User("alice@contoso.example")
	ss := w.Keeper.NewSession(u, claims.Password)
	ss.Device = w.device
	prt := w.Keeper.Box.Seal(kind, map[string]any{"s": ss, "k": []byte("0123456789abcdef0123456789abcdef"), "v": 1, "i": w.now.Unix(), "e": w.now.Add(time.Hour).Unix(), "b": w.now.Unix()})
	ctx := []byte("context of twenty-four b")
	mac := hmac.New(sha256.New, sessionKey)
	mac.Write([]byte{0, 0, 0, 1})
	mac.Write([]byte("AzureAD-SecureConversation\x00"))
	mac.Write(ctx)
	mac.Write([]byte{0, 0, 1, 0})
	key := mac.Sum(nil)
	c := map[string]any{"refresh_token": prt, "is_primary": "true"}
	if nonce != "" {
		c["request_nonce"] = nonce
	}
	return compact(w.t, map[string]any{"alg": "HS256", "ctx": base64.StdEncoding.EncodeToString(ctx)}, c, func(signed []byte) []byte {
		m := hmac.New(sha256.New, key)
		m.Write(signed)
		return m.Sum(nil)
	})
}

// What a browser shows by itself: the cookie of a PRT, that of the device, and both
// with a nonce of the server.
func TestSingleSignOn(t *testing.T) {
	t.Parallel()
	const header = "x-ms-RefreshTokenCredential"
	key := []byte("0123456789abcdef0123456789abcdef")
	w := newWorld(t)
	w.joined(true)
	c := w.code(w.get(start(), header, w.prtCookie(key, w.Keeper.NewNonce())).location(t))
	require.Equal(t, w.device, c.Session.Device)
	require.Equal(t, key, c.Key, "what the code brings is for the session key alone")
	require.False(t, w.last().Interactive)
	cookie := w.kept[0]
	require.NotEmpty(t, w.get(start("prompt", "none"), "Cookie", header+"1="+w.prtCookie(key, w.Keeper.NewNonce())).location(t).Get("code"), "numbered, with several accounts")

	r := w.get(start(), header, w.prtCookie(key, ""))
	require.NotEmpty(t, r.location(t).Get("sso_nonce"), "the server gives a nonce")
	stale := w.prtCookie(key, "stale")
	r = w.get(r.header.Get("Location"), header, stale)
	require.Equal(t, "True", r.location(t).Get("sso_reload"))
	require.Equal(t, "ConvergedSignIn", w.get(r.header.Get("Location"), header, stale).page(), "and no third one")
	for name, text := range map[string]string{"no JWS": "x", "no claims": "a.b.c", "another key": w.prtCookie(make([]byte, 32), w.Keeper.NewNonce()),
		"an app's refresh token": w.cookie(session.KindRefresh, key, w.Keeper.NewNonce())} {
		require.Equal(t, "ConvergedSignIn", w.get(start(), header, text).page(), name)
	}
	hinted := w.get(start("login_hint", "bob@contoso.example"), header, w.prtCookie(key, w.Keeper.NewNonce()))
	require.Equal(t, "ConvergedSignIn", hinted.page(), "somebody else signs in, on this device")
	bob := w.post(hinted.str("urlPost"), "login", "bob@contoso.example", "passwd", password, "ctx", hinted.str("sCtx"))
	require.Equal(t, w.device, w.code(bob.location(t)).Session.Device)

	silent := func() *reply { return w.get(start("prompt", "none"), "Cookie", cookie.Name+"="+cookie.Value) }
	require.NotEmpty(t, silent().location(t).Get("code"))
	w.BindBrowserSessions = true
	require.Equal(t, "AADSTS50058", silent().error(t), "bound to the PRT, which is not shown")

	device := func(change func(header, claims map[string]any)) string {
		h := map[string]any{"alg": "RS256", "typ": "JWT", "x5c": []string{base64.StdEncoding.EncodeToString(w.cert)}}
		c := map[string]any{"grant_type": "device_auth", "request_nonce": w.Keeper.NewNonce()}
		change(h, c)
		return compact(t, h, c, rs256(deviceKey()))
	}
	proved := func(text string) string {
		first := w.get(start(), "x-ms-DeviceCredential", text)
		require.Equal(t, "ConvergedSignIn", first.page(), first.body)
		return w.code(w.post(first.str("urlPost"), "login", "bob@contoso.example", "passwd", password, "ctx", first.str("sCtx")).location(t)).Session.Device
	}
	require.Equal(t, w.device, proved(device(func(map[string]any, map[string]any) {})))
	for name, text := range map[string]string{
		"no JWS": "x", "no claims": "e30.e30.",
		"nonce":  device(func(_, c map[string]any) { c["request_nonce"] = "x" }),
		"grant":  device(func(_, c map[string]any) { c["grant_type"] = "password" }),
		"no x5c": device(func(h, _ map[string]any) { delete(h, "x5c") }),
	} {
		require.Empty(t, proved(text), name)
	}
	require.NoError(t, w.dir.DeleteDevice(w.device))
	require.Equal(t, "ConvergedError 50155", w.get(start(), header, w.prtCookie(key, w.Keeper.NewNonce())).page())
}
