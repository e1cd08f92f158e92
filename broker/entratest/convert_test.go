package entratest

import (
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/directory"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// filled sets every field that a conversion has to carry.
func filled(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint32, reflect.Uint8:
		v.SetUint(7)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		filled(t, v.Index(0))
	case reflect.Map:
		e := reflect.New(v.Type().Elem()).Elem()
		filled(t, e)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("k"), e)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Func:
		v.Set(reflect.MakeFunc(v.Type(), func([]reflect.Value) []reflect.Value { return nil })) // never called
	case reflect.Interface:
		v.Set(reflect.ValueOf("key"))
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(7, 0)))
			return
		}
		for i := range v.NumField() {
			filled(t, v.Field(i))
		}
	default:
		t.Fatalf("a field of kind %s: teach this test", v.Kind())
	}
}

// whole reports the fields that a conversion left out.
func whole(t *testing.T, v reflect.Value, name string) {
	t.Helper()
	require.Falsef(t, v.IsZero(), "%s is not converted", name)
	switch v.Kind() {
	case reflect.Slice:
		whole(t, v.Index(0), name)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				whole(t, v.Field(i), name+"."+v.Type().Field(i).Name)
			}
		}
	}
}

// What users fill in reaches the packages below, and what those tell reaches the
// user, field by field.
func TestConversions(t *testing.T) {
	var tenant Tenant
	filled(t, reflect.ValueOf(&tenant).Elem())
	whole(t, reflect.ValueOf(tenant.spec()), "Tenant")

	var app App
	filled(t, reflect.ValueOf(&app).Elem())
	require.Equal(t, app, appOf(app.spec()), "there and back")

	var fault Fault
	filled(t, reflect.ValueOf(&fault).Elem())
	whole(t, reflect.ValueOf(fault.fault()), "Fault")

	var entry directory.LogEntry
	filled(t, reflect.ValueOf(&entry).Elem())
	whole(t, reflect.ValueOf(signInOf(entry)), "SignIn")

	var person Person
	filled(t, reflect.ValueOf(&person).Elem())
	whole(t, reflect.ValueOf(person.inside()), "Person")

	o := Options{Domain: "a", TenantID: "b", DisplayName: "c", Users: tenant.Users, Groups: tenant.Groups, Apps: tenant.Apps,
		Domains: []string{"f"}, Devices: tenant.Devices, Policies: tenant.Policies, Federated: []string{"d"}, FederatedMFA: "e", OtherTenants: []Tenant{tenant}}
	for _, spec := range o.tenants() {
		whole(t, reflect.ValueOf(spec), "Options")
	}
}

// The same names below and above.
func TestConstants(t *testing.T) {
	for above, below := range map[Endpoint]web.Endpoint{
		EndpointDiscovery: web.EndpointDiscovery, EndpointKeys: web.EndpointKeys, EndpointRealm: web.EndpointRealm,
		EndpointCredentialType: web.EndpointCredentialType, EndpointNonce: web.EndpointNonce, EndpointToken: web.EndpointToken,
		EndpointDeviceCode: web.EndpointDeviceCode, EndpointAuthorize: web.EndpointAuthorize, EndpointLogin: web.EndpointLogin,
		EndpointLogout: web.EndpointLogout, EndpointBulk: web.EndpointBulk, EndpointDRSDiscovery: web.EndpointDRSDiscovery,
		EndpointDevice: web.EndpointDevice, EndpointKey: web.EndpointKey, EndpointDRSNonce: web.EndpointDRSNonce,
		EndpointGraph: web.EndpointGraph, EndpointFederation: web.EndpointFederation,
	} {
		require.Equal(t, string(above), string(below))
	}
	for above, below := range map[FaultKind]web.FaultKind{
		DropBefore: web.DropBefore, DropAfter: web.DropAfter, Delay: web.Delay, Throttle: web.Throttle,
		Status: web.Status, Truncate: web.Truncate, Garbage: web.Garbage, AADSTS: web.AADSTS,
	} {
		require.Equal(t, int(above), int(below))
	}
}
