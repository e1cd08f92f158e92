package prt

import "context"

// What the tests in package prt_test check against vectors.
var (
	SignSession       = Session.sign
	WrappedSessionKey = wrappedSessionKey
	NFold             = nfold
	DecryptKerberos   = decryptKerberos
	OpenASRep         = openASRep
	ExtensionValue    = extensionValue
)

// OpenJWE is what ParseReply does with an encrypted reply.
func OpenJWE(ctx context.Context, s Session, text string, valid func([]byte) bool) ([]byte, error) {
	j, err := parseJWE(text)
	if err != nil {
		return nil, err
	}
	return s.open(ctx, j, valid)
}
