package page

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The pages in testdata are made by hand, one of each kind, of the names that
// public programs read on the real ones (roadtx, saml2aws, libhimmelblau) and of
// the sign-in pages as a browser gets them. No value in them is anybody's.
func read(t testing.TB, name string) *Page {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".html"))
	require.NoError(t, err)
	return Parse(data)
}

func TestPages(t *testing.T) {
	for _, tt := range []struct {
		file, id string
		code     int
		fields   map[string]string // of $Config, as text
		lists    map[string][]string
		ints     map[string]int
		proofs   []Proof
	}{
		{file: "ConvergedSignIn", id: SignIn, fields: map[string]string{
			"urlPost": "https://login.microsoftonline.com/common/login", "sFT": "AQABsFT", "sCtx": "rQQIsCtx", "canary": "canary1:1",
			"iAllowedIdentities": "2", "sFidoChallenge": "O.eyJ0", "urlNotThere": "", "fIsPasskeySupportEnabled": "",
		}, ints: map[string]int{"iPollingInterval": 3000, "sFT": 0}},
		{file: "ConvergedSignIn-picker", id: SignIn, fields: map[string]string{"arrSessions": ""}},
		{file: "ConvergedSignIn-wrong", id: SignIn, code: 50126, fields: map[string]string{"urlPost": "/common/login"}},
		{file: "ConvergedTFA", id: SecondFactor, lists: map[string][]string{"arrFidoAllowList": {`["q83vEjRWeJA="]`}}, proofs: []Proof{
			{Method: "PhoneAppOTP"}, {Method: "PhoneAppNotification", Default: true}, {Method: "OneWaySMS", Display: "+X XXXXXXXX67"},
		}},
		{file: "ConvergedFido", id: SecurityKey, lists: map[string][]string{"arrFidoAllowList": {"q83vEjRWeJA="}, "sFidoChallenge": {"O.eyJ0"}}},
		{file: "KmsiInterrupt", id: StaySignedIn, fields: map[string]string{"urlPost": "/kmsi"}},
		{file: "ConvergedProofUpRedirect-days", id: ProofUp, ints: map[string]int{"iRemainingDaysToSkipMfaRegistration": 13}},
		{file: "ConvergedProofUpRedirect", id: ProofUp, ints: map[string]int{"iRemainingDaysToSkipMfaRegistration": 0}},
		{file: "ConvergedChangePassword", id: ChangePassword, fields: map[string]string{"urlAsyncSsprBegin": "/common/SSPR/Begin"}},
		{file: "ConvergedConsent", id: Consent},
		{file: "CmsiInterrupt", id: ConfirmApp, fields: map[string]string{"urlPost": "https://login.microsoftonline.com/appverify"}},
		{file: "ConvergedTermsOfUse", id: Terms},
		{file: "ConvergedError", id: Failure, code: 53003},
		{file: "ConvergedError-message", id: Failure, code: 50105},
	} {
		t.Run(tt.file, func(t *testing.T) {
			p := read(t, tt.file)
			require.Equal(t, tt.id, p.ID)
			require.True(t, p.HasConfig())
			require.False(t, p.AutoSubmit)
			require.Equal(t, tt.code, p.Code())
			for name, want := range tt.fields {
				require.Equal(t, want, p.Text(name), name)
			}
			for name, want := range tt.lists {
				require.Equal(t, want, p.Strings(name), name)
			}
			for name, want := range tt.ints {
				require.Equal(t, want, p.Int(name), name)
			}
			proofs, err := p.Proofs()
			if tt.proofs == nil {
				require.EqualError(t, err, "page "+tt.id+" lacks arrUserProofs")
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.proofs, proofs)
		})
	}
}

func TestPagesWithoutConfig(t *testing.T) {
	p := read(t, "working")
	require.True(t, p.AutoSubmit)
	require.Len(t, p.Forms, 1)
	require.Equal(t, "https://login.microsoftonline.com/login.srf", p.Forms[0].Action)
	require.True(t, p.Forms[0].Post)
	require.Equal(t, url.Values{"wa": {"wsignin1.0"}, "wresult": {"<t:RequestSecurityTokenResponse/>"}, "wctx": {"LoginOptions=3"}}, p.Forms[0].Fields)

	p = read(t, "replace")
	require.Equal(t, "ms-appx-web://Microsoft.AAD.BrokerPlugin/DRS?code=0.AX&state=st&session_state=1", p.Redirect)
	require.False(t, p.HasConfig())

	p = read(t, "adfs")
	require.Len(t, p.Forms, 1)
	require.Equal(t, "loginForm", p.Forms[0].ID)
	require.Equal(t, url.Values{"UserName": {""}, "Password": {""}, "AuthMethod": {"FormsAuthentication"}}, p.Forms[0].Fields)
	require.Equal(t, "password", p.Forms[0].Types["Password"])
	require.Equal(t, "/adfs/ls/?username=dave%40corp.contoso.example&wa=wsignin1.0", p.Forms[0].Action)
}

// A text of the page that looks like the object is not the object.
func TestConfigIsReadFromScriptsAlone(t *testing.T) {
	p := Parse([]byte(`<p>$Config={"pgid":"ConvergedSignIn"};</p><input value='$Config={"pgid":"KmsiInterrupt"}'><script>$Config={"pgid":"ConvergedTFA"};</script>`))
	require.Equal(t, SecondFactor, p.ID)
	require.Empty(t, Parse([]byte(`<!-- <script>$Config={"pgid":"ConvergedTFA"};</script> -->`)).ID)
	require.False(t, Parse([]byte(`<script>$Config={"pgid":"Conv`)).HasConfig(), "cut off")
	require.False(t, Parse(bytes.Repeat([]byte("x"), MaxSize+1)).HasConfig())
}

// A field of another type than usual is one that is not there, and spoils no other.
func TestOtherTypes(t *testing.T) {
	p := Parse([]byte(`<script>$Config={"pgid":["ConvergedSignIn"],"urlPost":{"a":1},"sFT":7,"iErrorCode":"50126","arrUserProofs":{"a":1},"arrFidoAllowList":"one"};</script>`))
	require.Empty(t, p.ID)
	require.True(t, p.HasConfig())
	_, err := p.Need("urlPost")
	require.EqualError(t, err, "page without an id lacks urlPost")
	require.Equal(t, "7", p.Text("sFT"))
	require.Equal(t, 50126, p.Code())
	require.Equal(t, []string{"one"}, p.Strings("arrFidoAllowList"))
	_, err = p.Proofs()
	require.ErrorContains(t, err, "lacks arrUserProofs")
}

// Whatever bytes come, the id and the names of a shape are words, a shape holds no
// value, and a page that is read from its own $Config written anew is the same.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.html")
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p := Parse(body)
		if p.ID != Clean(p.ID) || len(p.ID) > maxID {
			t.Fatalf("id %q", p.ID)
		}
		_, _ = p.Proofs()
		_ = p.Code()
		for name, typ := range p.Shape() {
			if name != Clean(name) || strings.ContainsAny(typ, `"{}<>`) {
				t.Fatalf("shape %q: %q", name, typ)
			}
		}
		if !p.HasConfig() {
			return
		}
		again, err := json.Marshal(p.config)
		if err != nil {
			t.Fatal(err)
		}
		q := Parse([]byte("<script>$Config=" + string(again) + ";</script>"))
		if q.ID != p.ID || q.Code() != p.Code() || len(q.config) != len(p.config) {
			t.Fatalf("written anew, the page is another: %q and %q", p.ID, q.ID)
		}
	})
}
