package entratest

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// fill sets every field of a record, so that one forgotten in the state shows.
func fill(t *testing.T, v reflect.Value, key *rsa.PublicKey, n *int) {
	t.Helper()
	*n++
	switch v.Type() {
	case reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(1_700_000_000+int64(*n), 0).UTC()))
		return
	case reflect.TypeFor[*rsa.PublicKey]():
		v.Set(reflect.ValueOf(key))
		return
	case reflect.TypeFor[*tenant]():
		return // set by the caller
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("text" + strings.Repeat("x", *n%5))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint64, reflect.Uint32, reflect.Uint8:
		v.SetUint(uint64(*n))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0), key, n)
	case reflect.Array:
		for i := range v.Len() {
			fill(t, v.Index(i), key, n)
		}
	case reflect.Map:
		e := reflect.New(v.Type().Elem()).Elem()
		fill(t, e, key, n)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("k"), e)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), key, n)
	case reflect.Interface:
		v.Set(reflect.ValueOf(key))
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Field(i)
			fill(t, reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem(), key, n)
		}
	default:
		t.Fatalf("a field of kind %s: teach this test and the state", v.Kind())
	}
}

func TestStateHoldsEveryField(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	tn := &tenant{id: "t"}
	d := &directory{tenants: []*tenant{tn}}
	n := 0

	u := &user{}
	fill(t, reflect.ValueOf(u).Elem(), &key.PublicKey, &n)
	u.tenant = tn
	savedU, err := u.save()
	require.NoError(t, err)
	u2, err := savedU.user(d)
	require.NoError(t, err)
	require.Equal(t, u, u2)

	dev := &device{}
	fill(t, reflect.ValueOf(dev).Elem(), &key.PublicKey, &n)
	dev.tenant = tn
	savedD, err := dev.save()
	require.NoError(t, err)
	dev2, err := savedD.device(d)
	require.NoError(t, err)
	require.Equal(t, dev, dev2)

	require.Equal(t, reflect.TypeFor[user]().NumField(), reflect.TypeFor[savedUser]().NumField())
}

func stateForm(t *testing.T, s *Server, form url.Values) (int, map[string]any) {
	t.Helper()
	resp, err := s.Client().PostForm("https://login.microsoftonline.com/organizations/oauth2/v2.0/token", form)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	var reply map[string]any
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&reply))
	return resp.StatusCode, reply
}

func TestState(t *testing.T) {
	first, err := Start(Options{
		Seed: 3, Clock: NewRunningClock(time.Now()),
		Users:  []User{{Username: "alice", Password: "pw", TOTPSecret: "JBSWY3DPEHPK3PXP"}},
		Groups: []Group{{Name: "Inner", Members: []string{"alice"}}, {Name: "Outer", Members: []string{"Inner"}}},
		Apps:   []App{{ClientID: "7a11e51e-0001-4000-8000-0000000000aa", Name: "App", Public: true, AdminConsent: true}},
	})
	require.NoError(t, err)
	form := url.Values{"grant_type": {"password"}, "username": {"alice@contoso.example"}, "password": {"pw"},
		"client_id": {"7a11e51e-0001-4000-8000-0000000000aa"}, "scope": {"https://graph.microsoft.com/.default offline_access openid"}}
	status, reply := stateForm(t, first, form)
	require.Equal(t, http.StatusOK, status, reply)
	first.clock.Advance(48 * time.Hour)
	require.NoError(t, first.SetRisk("alice", "low", "none"))
	state, err := first.State()
	require.NoError(t, err)
	again, err := first.State()
	require.NoError(t, err)
	require.Equal(t, string(state), string(again), "equal states, equal bytes")
	first.Close()

	second, err := Start(Options{State: state, Clock: NewRunningClock(time.Now())})
	require.NoError(t, err)
	defer second.Close()
	require.Equal(t, first.TenantID(), second.TenantID())
	require.Equal(t, first.CA(), second.CA())
	require.InDelta(t, 48*3600, time.Until(second.Now()).Seconds(), 10)
	require.Len(t, second.SignIns(), 1)
	users := second.Users()
	require.Len(t, users, 1)
	require.Equal(t, []string{"Inner", "Outer"}, users[0].Groups)
	require.Equal(t, "low", users[0].UserRisk)

	status, reply = stateForm(t, second, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {reply["refresh_token"].(string)},
		"client_id": form["client_id"], "scope": form["scope"]})
	require.Equal(t, http.StatusOK, status, reply)
	log := second.SignIns()
	require.Len(t, log, 2)
	require.EqualValues(t, 2, log[1].Seq)

	for name, bad := range map[string]string{"no JSON": "x", "another format": `{"Format":99}`} {
		_, err := Start(Options{State: []byte(bad)})
		require.ErrorContains(t, err, "state", name)
	}
}
