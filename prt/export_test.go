package prt

// What the tests in package prt_test check against vectors.
var (
	SignSession       = Session.sign
	WrappedSessionKey = wrappedSessionKey
	NFold             = nfold
	DecryptKerberos   = decryptKerberos
	OpenASRep         = openASRep
	ExtensionValue    = extensionValue
)
