package directory_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/ids"
	"github.com/prtbroker/prtbroker/internal/wire"
)

const appID = "7a11e51e-0001-4000-8000-0000000000aa"

var now = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func newDirectory(t *testing.T, change func(*directory.TenantSpec)) (*directory.Directory, error) {
	t.Helper()
	spec := directory.TenantSpec{
		Domain: "contoso.example", DisplayName: "Contoso", Federated: []string{"fed.example"},
		Users: []directory.UserSpec{{Username: "alice", Password: "pw", TOTPSecret: "JBSWY3DPEHPK3PXP"}, {Username: "bob@fed.example"}},
		Groups: []directory.GroupSpec{
			{Name: "Inner", Members: []string{"alice"}}, {Name: "Outer", Members: []string{"Inner"}},
		},
		Apps: []directory.AppSpec{{ClientID: appID, Name: "App", URIs: []string{"api://Payroll/"}}},
	}
	if change != nil {
		change(&spec)
	}
	return directory.New([]directory.TenantSpec{spec, {Domain: "other.example"}}, 2, ids.NewSource(1))
}

func contoso(t *testing.T) *directory.Directory {
	t.Helper()
	d, err := newDirectory(t, nil)
	require.NoError(t, err)
	return d
}

func TestTenants(t *testing.T) {
	d := contoso(t)
	home := d.Home()
	require.Equal(t, "Contoso", home.Name)
	require.Len(t, d.Tenants(), 2)
	require.Same(t, home, d.Tenant(home.ID), "by id")
	require.Same(t, home, d.Tenant("FED.example"), "by any of its domains")
	require.Same(t, home, d.TenantOf("bob@Fed.example"))
	require.Nil(t, d.TenantOf("bob"), "a name without a domain")
	require.Nil(t, d.Tenant("nowhere.example"))
	require.True(t, home.IsFederated("bob@fed.example"))
	require.Same(t, home, d.FederationTenant(directory.FederationHost("fed.example")))
	require.Nil(t, d.FederationTenant("sts.contoso.example"), "a managed domain has no federation server")
}

func TestContradictions(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*directory.TenantSpec)
		says   string
	}{
		"no domain":         {func(s *directory.TenantSpec) { s.Domain = "" }, "needs a domain"},
		"a bad tenant id":   {func(s *directory.TenantSpec) { s.TenantID = "x" }, "not a GUID"},
		"a domain twice":    {func(s *directory.TenantSpec) { s.Domain = "other.example" }, "two tenants"},
		"a bad behaviour":   {func(s *directory.TenantSpec) { s.FederatedMFA = "maybe" }, "federatedIdpMfaBehavior"},
		"no user name":      {func(s *directory.TenantSpec) { s.Users[0].Username = "" }, "Username"},
		"a name twice":      {func(s *directory.TenantSpec) { s.Users[1].Username = "ALICE" }, "two users are named"},
		"a bad secret":      {func(s *directory.TenantSpec) { s.Users[0].TOTPSecret = "1" }, "base32"},
		"a passkey, no key": {func(s *directory.TenantSpec) { s.Users[0].Passkeys = []directory.PasskeySpec{{ID: []byte("k")}} }, "RSA key"},
		"a stranger":        {func(s *directory.TenantSpec) { s.Groups[0].Members = []string{"mallory"} }, "mallory"},
		"a bad redirect":    {func(s *directory.TenantSpec) { s.Apps[0].Redirects = []string{"nowhere"} }, "not a URI"},
		"bad policies":      {func(s *directory.TenantSpec) { s.Policies = json.RawMessage("[") }, "policies"},
	} {
		_, err := newDirectory(t, c.change)
		require.ErrorContains(t, err, c.says, name)
	}
}

// A record does not change under whoever looked it up.
func TestSnapshots(t *testing.T) {
	d := contoso(t)
	before := d.User("Alice@contoso.example")
	require.NoError(t, d.ChangePassword("alice", "new", now))
	require.Equal(t, "pw", before.Password)
	after := d.UserByID(before.ID)
	require.Equal(t, "new", after.Password)
	require.Equal(t, before.PasswordGen+1, after.PasswordGen)
	require.Equal(t, before.Epoch, after.Epoch, "a change by the user ends no session by itself")

	require.NoError(t, d.ResetPassword("alice", "reset", now))
	require.Equal(t, after.Epoch+1, d.User("alice@contoso.example").Epoch)
	_, err := d.ReplacePassword("alice@contoso.example", "pw", "next", now)
	require.ErrorIs(t, err, directory.ErrPassword, "changed meanwhile")
	u, err := d.ReplacePassword("alice@contoso.example", "reset", "next", now)
	require.NoError(t, err)
	require.Equal(t, "next", u.Password)

	require.NoError(t, d.ExpirePassword("alice"))
	require.NoError(t, d.SetUserEnabled("alice", false, now))
	require.NoError(t, d.SetRisk("alice", "high", "", now))
	require.ErrorContains(t, d.SetRisk("alice", "terrible", "", now), "terrible")
	require.NoError(t, d.SetTOTP("alice", ""))
	require.NoError(t, d.Revoke("alice", now))
	u = d.User("alice@contoso.example")
	require.True(t, u.PasswordExpired && u.Disabled && u.TOTP == nil && u.UserRisk == "high" && u.RevokedAt.Equal(now))
	require.ErrorIs(t, d.Revoke("nobody", now), directory.ErrNoUser)
}

func TestGroups(t *testing.T) {
	d := contoso(t)
	u := d.User("alice@contoso.example")
	var names []string
	for _, g := range d.Memberships(u) {
		names = append(names, g.Name)
	}
	require.ElementsMatch(t, []string{"Inner", "Outer"}, names, "groups nest")
	require.Len(t, d.GroupsOf(u), 2)
	require.True(t, d.Assigned([]string{"outer"}, u))
	require.True(t, d.Assigned([]string{"alice"}, u))
	require.False(t, d.Assigned([]string{"bob@fed.example"}, u))
	require.NoError(t, d.AddGroup(directory.GroupSpec{Name: "Ring", Members: []string{"Outer"}}))
	require.Len(t, d.GroupsOf(u), 3)

	require.NoError(t, d.AddUser(directory.UserSpec{Username: "carol"}))
	require.ErrorContains(t, d.AddUser(directory.UserSpec{Username: "carol@nowhere.example"}), "no tenant has this domain")
	require.Len(t, d.Users(), 3)
	require.NoError(t, d.DeleteUser("alice"))
	require.Nil(t, d.UserByID(u.ID))
}

func TestApps(t *testing.T) {
	d := contoso(t)
	home := d.Home()
	a := d.App(home, appID)
	require.Equal(t, []string{"user_impersonation"}, a.Exposes)
	for _, uri := range []string{"api://payroll", appID, "api://" + appID} {
		require.Same(t, a, d.Resource(home, uri), uri)
	}
	require.NotNil(t, d.App(home, wire.ClientBroker), "first-party clients are in every tenant")
	require.NoError(t, d.AddApp(directory.AppSpec{Name: "Another"}))
	require.Contains(t, d.Clients(home), a)

	u := d.User("alice@contoso.example")
	require.NoError(t, d.GrantConsent(u, appID, []string{"x/b", "x/a"}))
	require.NoError(t, d.GrantConsent(u, appID, []string{"x/a"}))
	require.Equal(t, []string{"x/a", "x/b"}, d.UserByID(u.ID).Consents[appID])
}

func TestDevices(t *testing.T) {
	d := contoso(t)
	u := d.User("alice@contoso.example")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	dev := &directory.Device{Tenant: d.Home(), ID: "d1", Owner: u.ID, Key: &key.PublicKey, Enabled: true, Visible: now.Add(time.Minute), TriesLeft: 2}
	require.NoError(t, d.AddDevice(dev))
	require.NoError(t, d.AddDevice(&directory.Device{Tenant: d.Home(), ID: "d2", Owner: u.ID}))
	require.ErrorIs(t, d.AddDevice(&directory.Device{Tenant: d.Home(), ID: "d3", Owner: u.ID}), directory.ErrQuota)
	require.NoError(t, d.AddDevice(dev), "one that joins again counts once")
	require.Equal(t, "d1", d.DeviceByKey(u.ID, &key.PublicKey).ID)

	require.False(t, d.Replicated("d1", now), "young")
	require.False(t, d.Replicated("d1", now))
	require.True(t, d.Replicated("d1", now), "two refused tries end the lag")
	require.True(t, d.Replicated("d1", now.Add(time.Hour)))

	require.NoError(t, d.SetHelloKey(u.UPN, &directory.HelloKey{ID: "h1", Kid: "kid", Key: &key.PublicKey, DeviceID: "d1"}))
	require.ErrorIs(t, d.SetHelloKey("bob@fed.example", &directory.HelloKey{ID: "h2", Kid: "kid", DeviceID: "d2"}), directory.ErrKeyTaken)
	owner, k := d.HelloUser("kid")
	require.Equal(t, u.ID, owner.ID)
	require.Equal(t, "h1", k.ID)

	require.NoError(t, d.SetCompliant("d1", true))
	require.NoError(t, d.SetDeviceEnabled("d1", false, now))
	got := d.Device("D1")
	require.True(t, got.Compliant && got.Managed && !got.Enabled)
	require.NoError(t, d.DeleteDevice("d1"))
	require.ErrorContains(t, d.DeleteDevice("d1"), "no such device")
	require.Nil(t, d.DeviceByKey(u.ID, &key.PublicKey))
	owner, _ = d.HelloUser("kid")
	require.Nil(t, owner, "its keys went with it")
	require.True(t, d.WentWithDevice("kid", u.UPN))
	require.Len(t, d.Devices(), 1)

	saved, err := d.Save()
	require.NoError(t, err)
	back := contoso(t)
	require.NoError(t, back.Load(&saved))
	for _, d := range []*directory.Directory{d, back} {
		require.NoError(t, d.RestoreDevice("D1"))
		require.ErrorContains(t, d.RestoreDevice("d1"), "no such device among the deleted devices")
		got := d.Device("d1")
		require.Equal(t, got, d.DeviceByKey(u.ID, &key.PublicKey))
		require.True(t, got.Managed && !got.Compliant && !got.Enabled, "it is as it was, but for its compliance")
		owner, k := d.HelloUser("kid")
		require.Equal(t, u.ID, owner.ID)
		require.Equal(t, "h1", k.ID, "its keys came back with it")
		require.False(t, d.WentWithDevice("kid", u.UPN))
		require.Len(t, d.Devices(), 2)
	}
}

// What Save returned is not changed by what happens after it.
func TestSaveCopies(t *testing.T) {
	d := contoso(t)
	before, err := d.Save()
	require.NoError(t, err)
	was, err := json.Marshal(before)
	require.NoError(t, err)
	require.NotEmpty(t, before.Tenants[0].MemberOf, "alice is in a group")
	require.NoError(t, d.DeleteUser("alice"))
	is, err := json.Marshal(before)
	require.NoError(t, err)
	require.JSONEq(t, string(was), string(is))
}

func TestPasskeys(t *testing.T) {
	d := contoso(t)
	u := d.User("alice@contoso.example")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	spec := directory.PasskeySpec{ID: []byte("one"), Key: key, Count: 3}
	require.NoError(t, d.AddPasskey("alice", spec))
	require.ErrorContains(t, d.AddPasskey("bob@fed.example", spec), "registered already")
	id := d.UserByID(u.ID).PasskeyIDs()[0]
	require.Equal(t, u.ID, d.PasskeyUser(id).ID)
	require.Equal(t, []byte(u.ID), d.UserByID(u.ID).Passkeys[0].Handle)
	require.NoError(t, d.CountPasskey(u.UPN, id, 4))
	require.ErrorContains(t, d.CountPasskey(u.UPN, id, 4), "cloned")
}

func TestCertificates(t *testing.T) {
	d := contoso(t)
	require.False(t, d.CertificateRevoked(big.NewInt(7)))
	d.RevokeCertificate(big.NewInt(7))
	require.True(t, d.CertificateRevoked(big.NewInt(7)))
}

// The resources that a device needs before it is one are exempt from device
// grants alone.
func TestPolicies(t *testing.T) {
	d := contoso(t)
	require.Nil(t, d.AccessRules(d.Home()))
	require.NoError(t, d.SetPolicies(d.Home(), json.RawMessage(`[
		{"id":"1","displayName":"either","state":"enabled","conditions":{},"grantControls":{"operator":"OR","builtInControls":["mfa","compliantDevice"]}},
		{"id":"2","displayName":"both","state":"enabled","conditions":{},"grantControls":{"operator":"AND","builtInControls":["mfa","compliantDevice"]}}]`)))
	rules := d.AccessRules(d.Home())
	require.Len(t, rules.Bundle.Policies[1].GrantControls.BuiltInControls, 2)
	require.Nil(t, rules.ExemptBundle.Policies[0].GrantControls)
	require.Len(t, rules.ExemptBundle.Policies[1].GrantControls.BuiltInControls, 1)
}

func TestLog(t *testing.T) {
	l := directory.NewSignInLog(2)
	for _, name := range []string{"a", "b", "c"} {
		l.Add(directory.LogEntry{Username: name})
	}
	list := l.All()
	require.Len(t, list, 2)
	require.Equal(t, "b", list[0].Username)
	require.EqualValues(t, 3, list[1].Seq)

	later := directory.NewSignInLog(1)
	later.Restore(list)
	later.Add(directory.LogEntry{Username: "d"})
	require.EqualValues(t, 4, later.All()[0].Seq, "numbers go on")

	// A log that does not begin with 1 and is not full, and one that goes on after it.
	larger := directory.NewSignInLog(5)
	larger.Restore(list)
	empty := larger.Next()
	require.Empty(t, empty.All())
	for want := int64(4); want < 20; want++ {
		for _, l := range []*directory.SignInLog{larger, empty} {
			l.Add(directory.LogEntry{Username: "e"})
			got := l.All()
			for i, e := range got {
				require.Equal(t, want-int64(len(got)-1-i), e.Seq, "in order")
			}
		}
	}
}

func TestSaved(t *testing.T) {
	d := contoso(t)
	u := d.User("alice@contoso.example")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	require.NoError(t, d.AddDevice(&directory.Device{Tenant: d.Home(), ID: "d1", Owner: u.ID, Key: &key.PublicKey}))
	require.NoError(t, d.SetHelloKey(u.UPN, &directory.HelloKey{ID: "h1", Kid: "kid", Key: &key.PublicKey, DeviceID: "d1"}))
	saved, err := d.Save()
	require.NoError(t, err)
	text, err := json.Marshal(saved)
	require.NoError(t, err)

	second, err := newDirectory(t, func(s *directory.TenantSpec) { s.Users, s.Groups = nil, nil })
	require.NoError(t, err)
	var read directory.Saved
	require.NoError(t, json.Unmarshal(text, &read))
	require.NoError(t, second.Load(&read))
	again, err := second.Save()
	require.NoError(t, err)
	got, err := json.Marshal(again)
	require.NoError(t, err)
	require.JSONEq(t, string(text), string(got))
	owner, _ := second.HelloUser("kid")
	require.Equal(t, u.ID, owner.ID)

	read.Users[0].Tenant = "another"
	require.ErrorContains(t, contoso(t).Load(&read), "without a tenant")
}
