package claims_test

import (
	"iter"
	"math/bits"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/claims"
)

func TestFromAMR(t *testing.T) {
	tests := []struct {
		name    string
		amr     []string
		want    claims.Methods
		unknown []string
		mfa     bool
	}{
		{"nothing", nil, 0, nil, false},
		{"password", []string{"pwd"}, claims.Password, nil, false},
		{"password on a device", []string{"pwd", "rsa"}, claims.Password | claims.MarkRSA, nil, false},
		{"password and Authenticator", []string{"pwd", "mfa"}, claims.Password | claims.MarkMFA, nil, true},
		{"Hello", []string{"rsa", "mfa"}, claims.MarkRSA | claims.MarkMFA, nil, true},
		{"security key", []string{"fido", "rsa", "mfa"}, claims.FIDO2 | claims.MarkRSA | claims.MarkMFA, nil, true},
		{"security key alone", []string{"fido"}, claims.FIDO2, nil, true},
		{"fresh for provisioning", []string{"pwd", "ngcmfa"}, claims.Password | claims.MarkFreshMFA, nil, true},
		{"password and text message", []string{"pwd", "sms"}, claims.Password | claims.SMS, nil, true},
		{"password and call", []string{"pwd", "tel"}, claims.Password | claims.Voice, nil, true},
		{"password and code", []string{"pwd", "otp"}, claims.Password | claims.SoftwareOATH, nil, true},
		{"text message alone", []string{"sms"}, claims.SMS, nil, false},
		{"code alone", []string{"otp"}, claims.SoftwareOATH, nil, false},
		{"certificate, one factor", []string{"x509"}, claims.CertificateSingleFactor, nil, false},
		{"x5c", []string{"x5c"}, claims.CertificateSingleFactor, nil, false},
		{"smart card", []string{"sc"}, claims.CertificateMultiFactor, nil, true},
		{"federated", []string{"fed"}, claims.FederatedSingleFactor, nil, false},
		{"federated with MFA", []string{"fed", "mfa"}, claims.FederatedSingleFactor | claims.MarkMFA, nil, true},
		{"federated with a code", []string{"fed", "otp"}, claims.FederatedSingleFactor | claims.SoftwareOATH, nil, true},
		{"Windows authentication", []string{"wia"}, claims.MarkWindowsAuth, nil, false},
		{"either of two", []string{"wiaormfa"}, 0, []string{"wiaormfa"}, false},
		{"none", []string{"none"}, 0, []string{"none"}, false},
		{"AD FS", []string{"http://schemas.microsoft.com/claims/multipleauthn"}, claims.MarkMFA, nil, true},
		{"unknown values prove nothing", []string{"MFA", "mfa ", "", "kba", "pwd"}, claims.Password, []string{"MFA", "mfa ", "", "kba"}, false},
		{"keys", []string{"hwk", "swk"}, claims.HardwareOATH | claims.AuthenticatorPush, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, unknown := claims.FromAMR(tt.amr)
			require.Equal(t, tt.want, m)
			require.Equal(t, tt.unknown, unknown)
			require.Equal(t, tt.mfa, m.MFA())
		})
	}
}

func TestAMR(t *testing.T) {
	for _, tt := range []struct {
		m    claims.Methods
		want []string
	}{
		{0, []string{}},
		{claims.Password, []string{"pwd"}},
		{claims.Password | claims.MarkRSA, []string{"pwd", "rsa"}},
		{claims.Password | claims.SMS, []string{"pwd", "sms", "mfa"}},
		{claims.WindowsHello, []string{"rsa", "mfa"}},
		{claims.FIDO2, []string{"fido", "rsa", "mfa"}},
		{claims.DeviceBasedPush, []string{"rsa", "mfa"}},
		{claims.CertificateSingleFactor, []string{"rsa"}},
		{claims.CertificateMultiFactor, []string{"rsa", "mfa"}},
		{claims.TemporaryAccessPassOneTime, []string{"otp", "mfa"}},
		{claims.FederatedMultiFactor, []string{"fed", "mfa"}},
		{claims.Password | claims.MarkFreshMFA, []string{"pwd", "mfa", "ngcmfa"}},
		{claims.Password | claims.AuthenticatorPush, []string{"pwd", "swk", "mfa"}},
		{claims.Email, []string{"email"}},
	} {
		require.Equal(t, tt.want, tt.m.AMR(), tt.m.String())
	}
}

// small yields every set of up to four methods: no rule looks at more than two.
func small() iter.Seq[claims.Methods] {
	return func(yield func(claims.Methods) bool) {
		for m := claims.Methods(0); m < 1<<18; m++ {
			if bits.OnesCount32(uint32(m)) <= 4 && !yield(m) {
				return
			}
		}
	}
}

// What AMR writes, FromAMR reads as no less and no more than it was: MFA stays
// MFA, and one factor stays one.
func TestAMRKeepsMFA(t *testing.T) {
	for m := range small() {
		back, unknown := claims.FromAMR(m.AMR())
		require.Empty(t, unknown)
		if m.MFA() != back.MFA() {
			t.Fatalf("%v: MFA %v became %v", m, m.MFA(), back.MFA())
		}
	}
}

// The combinations of the built-in strength "Multifactor authentication", and
// nothing below them.
func TestMFACombinations(t *testing.T) {
	allowed := []string{"windowsHelloForBusiness", "fido2", "x509CertificateMultiFactor", "deviceBasedPush",
		"temporaryAccessPassOneTime", "temporaryAccessPassMultiUse", "federatedMultiFactor",
		"password,microsoftAuthenticatorPush", "password,softwareOath", "password,hardwareOath", "password,sms", "password,voice",
		"password,x509CertificateSingleFactor", "password,x509CertificateMultiFactor",
		"federatedSingleFactor,microsoftAuthenticatorPush", "federatedSingleFactor,softwareOath", "federatedSingleFactor,hardwareOath",
		"federatedSingleFactor,sms", "federatedSingleFactor,voice"}
	var masks []claims.Methods
	for _, a := range allowed {
		m, ok := claims.ParseModes(a)
		require.True(t, ok, a)
		masks = append(masks, m)
	}
	for m := range small() {
		want := slices.ContainsFunc(masks, m.Has)
		if m.MFA() != want {
			t.Fatalf("%v: MFA %v", m, m.MFA())
		}
	}
}

func TestModes(t *testing.T) {
	// The values of authenticationMethodModes in Microsoft Graph.
	for name, bit := range map[string]claims.Methods{
		"password": 1, "voice": 2, "hardwareOath": 4, "softwareOath": 8, "sms": 16, "fido2": 32, "windowsHelloForBusiness": 64,
		"microsoftAuthenticatorPush": 128, "deviceBasedPush": 256, "temporaryAccessPassOneTime": 512,
		"temporaryAccessPassMultiUse": 1024, "email": 2048, "x509CertificateSingleFactor": 4096,
		"x509CertificateMultiFactor": 8192, "federatedSingleFactor": 16384, "federatedMultiFactor": 32768, "qrCodePin": 131072,
	} {
		m, ok := claims.ParseMode(name)
		require.True(t, ok, name)
		require.Equal(t, bit, m, name)
		require.Equal(t, name, m.String())
		require.Equal(t, m, m.Modes())
	}
	m, ok := claims.ParseModes("password, sms")
	require.True(t, ok)
	require.Equal(t, claims.Password|claims.SMS, m)
	_, ok = claims.ParseModes("password,telepathy")
	require.False(t, ok)
	_, ok = claims.ParseMode("")
	require.False(t, ok)
	require.Equal(t, claims.Password, (claims.Password | claims.MarkMFA | claims.MarkRSA).Modes())
	require.True(t, (claims.Password | claims.SMS).Has(claims.SMS))
	require.False(t, claims.Password.Has(claims.Password|claims.SMS))
	require.True(t, claims.MarkFreshMFA.Fresh())
	require.False(t, claims.MarkMFA.Fresh())
}

func TestMethodsText(t *testing.T) {
	m := claims.Password | claims.FIDO2 | claims.MarkMFA | claims.MarkFreshMFA | claims.MarkRSA | claims.MarkWindowsAuth
	require.Equal(t, "password,fido2,rsa,wia,mfa,ngcmfa", m.String())
	b, err := m.MarshalText()
	require.NoError(t, err)
	var back claims.Methods
	require.NoError(t, back.UnmarshalText(b))
	require.Equal(t, m, back)
	require.NoError(t, back.UnmarshalText([]byte("sms,from-the-future,pwd")))
	require.Equal(t, claims.SMS, back, "amr values of methods are no names")
	require.NoError(t, back.UnmarshalText(nil))
	require.Zero(t, back)
}
