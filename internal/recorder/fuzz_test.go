package recorder

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Wherever a text is in a reply, and whatever is around it, it is not in what is
// recorded of it. Z in an input stands for the text.
func FuzzRedact(f *testing.F) {
	const canary = "zx7q9canary3w"
	b64 := func(s string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(strings.ReplaceAll(s, "Z", canary)))
	}
	for _, s := range []string{
		`{"upn":"Z@b.example","Z":1,"a":["Z",{"b":"x Z"}],"claims":"{\"c\":\"Z\"}"}`,
		`{"scope":"openid Z https://graph.microsoft.com/Z","exp":1,"expires_in":"Z","error_description":"AADSTS50126: Z"}`,
		`{"url":"https://Z.example:1/Z?Z=Z#Z","mail":"Z@microsoft.com","odata.Z":"<Z>","@odata.Z":"Z.Z.Z"}`,
		`{"id_token":"` + b64(`{"alg":"none","kid":"Z"}`) + `.` + b64(`{"upn":"Z"}`) + `.Z"}`,
		`{"session_key_jwe":"` + b64(`{"alg":"RSA-OAEP","x":"Z"}`) + `.Z.Z.Z.Z"}`,
		`{"client_info":"` + b64(`{"uid":"Z"}`) + `"}`,
		`grant_type=password&Z=Z&password=Z&username=Z%40b.example`,
		`<html>Z</html>`, `"Z"`, `[["Z"]]`, `Z.Z`, `Z`, `{"a":"Z`, "{\"a\":1} Z",
	} {
		f.Add("application/json", s)
		f.Add("application/x-www-form-urlencoded", s)
	}
	f.Fuzz(func(t *testing.T, kind, body string) {
		body = strings.ReplaceAll(body, "Z", canary)
		kind = strings.ReplaceAll(kind, "Z", canary)
		r := newRedactor(time.Unix(1_700_000_000, 0))
		out, err := pretty(map[string]any{
			"body":    r.body(kind, []byte(body)),
			"headers": r.headers(http.Header{"Content-Type": {kind}, "Set-Cookie": {body}, "Location": {body}, "Authorization": {body}, body: {kind}}),
			"query":   r.query(body),
			"method":  r.method(body),
		})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(strings.ToLower(string(out)), canary) {
			t.Fatalf("the text is in\n%s", out)
		}
	})
}
