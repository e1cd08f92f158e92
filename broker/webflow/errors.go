package webflow

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/webflow/internal/page"
)

// Errors of a sign-in, for [errors.Is], in addition to those of package broker:
// [broker.ErrBadCredential], [broker.ErrAccountLocked], [broker.ErrUserDisabled],
// [broker.ErrUserNotFound], [broker.ErrBlocked], [broker.ErrAppConfig] and others
// report what the service answered, with its AADSTS number in a [*broker.Error].
var (
	// ErrTryAgain means that the answer was wrong and the flow goes on: answer the
	// challenge that was returned with the error. It comes with
	// broker.ErrBadCredential.
	ErrTryAgain = errors.New("webflow: the answer is wrong and may be tried again")

	// ErrDenied means that the user declined in the app or on the phone, chose a
	// wrong number there, or did not answer before the service gave up. The service
	// does not always distinguish these cases. It is also a broker.ErrUserCanceled.
	ErrDenied error = derived{"webflow: the sign-in was declined", broker.ErrUserCanceled}

	// ErrTimeout means that the user did not answer within the number of polls that
	// the page allows, or that the service reported a timeout. It is also a
	// broker.ErrInteractionRequired.
	ErrTimeout error = derived{"webflow: nobody answered in time", broker.ErrInteractionRequired}

	// ErrNoMethod means that MFA is required and the user has no method that this
	// package supports, or has to register one first, which needs a browser. Fall
	// back to a device code. It is also an ErrPage.
	ErrNoMethod error = derived{"webflow: the user has no method to sign in with here", ErrPage}

	// ErrConsent means that the app lacks consent, which has to be given in a
	// browser. It is also an ErrPage and a broker.ErrAppConfig.
	ErrConsent error = derived{"webflow: the app lacks consent", errors.Join(ErrPage, broker.ErrAppConfig)}

	// ErrTerms means that the user has to read and accept terms of use, which needs
	// a browser. It is also an ErrPage and a broker.ErrInteractionRequired.
	ErrTerms error = derived{"webflow: terms of use must be accepted", errors.Join(ErrPage, broker.ErrInteractionRequired)}

	// ErrPage means that the service showed a page that this package does not know,
	// or one that lacks something it needs. Fall back to a device code. It is also
	// an errors.ErrUnsupported, so that a broker whose [broker.Prompter] returns it
	// falls back to a device code by itself.
	ErrPage error = derived{"webflow: the page cannot be driven", errors.ErrUnsupported}

	// ErrClosed means that the flow was closed.
	ErrClosed = errors.New("webflow: the flow is closed")
)

// derived is a sentinel error that wraps another one.
type derived struct {
	text string
	is   error
}

func (e derived) Error() string { return e.text }
func (e derived) Unwrap() error { return e.is }

// An Error says at which page a sign-in ended. It contains nothing else from the
// page.
type Error struct {
	// Page is the id of the page ($Config.pgid), or empty if it has none.
	Page string
	// Missing is the field that the page lacks, or empty.
	Missing string

	detail string
	causes []error
}

// Error returns one line.
func (e *Error) Error() string {
	s := "webflow: " + e.detail
	for _, c := range e.causes {
		var said *broker.Error
		if errors.As(c, &said) && said.Code != 0 {
			s += fmt.Sprintf(" (AADSTS%d)", said.Code)
		}
	}
	return s
}

// Unwrap returns the sentinel errors and the error of the service.
func (e *Error) Unwrap() []error { return e.causes }

const deviceCode = "sign in by device code"

// failed is an error of the flow itself.
func failed(detail string, causes ...error) *Error { return &Error{detail: detail, causes: causes} }

// unknownPage returns the error for a page that this package cannot handle.
func unknownPage(p *page.Page) *Error {
	e := failed("page "+page.Name(p.ID)+" is not known: "+deviceCode, ErrPage)
	e.Page = p.ID
	return e
}

// termsOfUse returns the error for a page with terms of use.
func termsOfUse(id string) *Error {
	e := failed("the user has to accept terms of use first: do so in a browser, or "+deviceCode, ErrTerms)
	e.Page = id
	return e
}

// lacking turns a page's missing field into an Error.
func lacking(err error) error {
	var m *page.MissingError
	if !errors.As(err, &m) {
		return err
	}
	e := failed(m.Error()+": "+deviceCode, ErrPage)
	e.Page, e.Missing = m.Page, m.Field
	return e
}

const op = "sign-in page"

// refused returns the error for the AADSTS code that a page shows.
func refused(p *page.Page) error { return broker.ErrorOf(op, p.Code()) }

// wrong is a wrong password or code, after which the flow goes on.
func wrong(detail string, code int) error {
	if code == 0 {
		return failed(detail, ErrTryAgain, broker.ErrBadCredential)
	}
	return failed(detail, ErrTryAgain, broker.ErrorOf(op, code), broker.ErrBadCredential)
}

var aadsts = regexp.MustCompile(`^AADSTS(\d{1,9})\b`)

// redirectError is an error that came back with the redirect.
func redirectError(q url.Values) error {
	if m := aadsts.FindStringSubmatch(q.Get("error_description")); m != nil {
		n, _ := strconv.Atoi(m[1])
		return broker.ErrorOf(op, n)
	}
	if q.Get("error") == "access_denied" {
		return failed("the sign-in was declined", ErrDenied)
	}
	return failed("the sign-in ended with an error that has no AADSTS number: "+deviceCode, ErrPage)
}
