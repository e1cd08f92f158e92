package directory

import (
	"crypto/rand"
	"crypto/rsa"
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
	case reflect.TypeFor[*Tenant]():
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
	tn := &Tenant{ID: "t"}
	d := &Directory{tenants: []*Tenant{tn}}
	n := 0

	u := &User{}
	fill(t, reflect.ValueOf(u).Elem(), &key.PublicKey, &n)
	u.Tenant = tn
	savedU, err := u.save()
	require.NoError(t, err)
	u2, err := savedU.user(d)
	require.NoError(t, err)
	require.Equal(t, u, u2)

	dev := &Device{}
	fill(t, reflect.ValueOf(dev).Elem(), &key.PublicKey, &n)
	dev.Tenant = tn
	savedD, err := dev.save()
	require.NoError(t, err)
	dev2, err := savedD.device(d)
	require.NoError(t, err)
	require.Equal(t, dev, dev2)

	require.Equal(t, reflect.TypeFor[User]().NumField(), reflect.TypeFor[savedUser]().NumField())
}
