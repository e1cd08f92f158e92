package broker

// Options are the options of one call, resolved, for implementations of the
// broker's methods elsewhere, such as the client of a broker on D-Bus. The zero
// value is a call without options.
type Options struct {
	Account         Account
	App             App
	TenantID        string
	Claims          string
	ForceRefresh    bool
	NewSignIn       bool
	Nonce           string
	LoginHint       string
	InsecureNoNonce bool
	CorrelationID   string
	CAE             bool
	PoP             *PoP // nil: a bearer token
}

// ResolveOptions returns what the options of a call say. An option that is
// given twice, or the zero CallOption, is an error.
func ResolveOptions(opts ...CallOption) (Options, error) {
	c, err := new(Config).options("options", ^optionKind(0), opts)
	if err != nil {
		return Options{}, err
	}
	return Options{
		Account:         c.account,
		App:             c.app,
		TenantID:        c.tenant,
		Claims:          c.claims,
		ForceRefresh:    c.forceRefresh,
		NewSignIn:       c.newSignIn,
		Nonce:           c.nonce,
		LoginHint:       c.loginHint,
		InsecureNoNonce: c.insecureNoNonce,
		CorrelationID:   c.correlationID,
		CAE:             c.cae,
		PoP:             c.pop,
	}, nil
}

// NewError returns e as one of the sentinels of this package, with a sentence
// that says what happened, for implementations of the broker's methods
// elsewhere. The cause may be nil. Neither may hold a secret.
func NewError(sentinel error, text string, cause error, e Error) *Error {
	e.kind, e.detail, e.cause = sentinel, text, cause
	return &e
}
