package recorder

import (
	_ "embed"
	"strings"
)

//go:embed words.txt
var wordList string

// A vocabulary is what is kept as it is.
type vocabulary struct {
	words   set // texts
	counts  set // fields whose numbers are kept
	times   set // fields that hold seconds since 1970: kept as a distance from now
	lists   set // fields whose text is words with spaces between
	secrets set // fields of which not even the length is kept
}

type set map[string]bool

func setOf(words string) set {
	s := set{}
	for w := range strings.FieldsSeq(words) {
		s[w] = true
	}
	return s
}

func newVocabulary() *vocabulary {
	v := &vocabulary{
		words: set{},
		counts: setOf(`expires_in ext_expires_in refresh_token_expires_in interval error_codes status kdf_ver JoinType ver v
			api-version ServiceVersion client_info Content-Length Retry-After Age appidacr acr azpacr tbidv2 windows_api_version
			prt_protocol_version return-client-request-id X-Content-Type-Options acrs level EnrollmentVersion`),
		times:   setOf(`exp iat nbf auth_time expires_on not_before Expires pwd_exp`),
		lists:   setOf(`scope scp amr_values prompt resource Accept Accept-Encoding Cache-Control Content-Type Vary Connection response_type`),
		secrets: setOf(`password client_secret otc user_code pin code_verifier`),
	}
	for line := range strings.Lines(wordList) {
		if line = strings.TrimRight(line, "\n"); line != "" && !strings.HasPrefix(line, "#") {
			v.words[line] = true
		}
	}
	return v
}
