// Package webflow signs a user in on the pages of Microsoft Entra ID without a
// browser, for login managers and other programs that have a keyboard and no
// window: it reads the pages, asks the program for a password, a code, an approval
// or a security key, and ends with a refresh token that [broker.Broker.SignIn]
// makes a PRT of, MFA included.
//
// # Unstable
//
// Microsoft does not document these pages and may change them at any time. They are
// written for browsers, and public clients that read them had to be fixed about every
// two months. This package is as unstable as they are: a page that it does not know,
// or that lacks what it needs, ends in [ErrPage], whose text names the page or the
// field and nothing that is on it. Fall back to device code ([broker.DeviceCodeFlow]),
// which is a documented protocol. An ErrPage is an errors.ErrUnsupported, so that a
// broker whose Prompter returns it asks by device code by itself.
//
// When a page has changed: run the sign-in once more with WEBFLOW_RECORD=DIR in the
// environment (or [Options].Record). Each page leaves a file there with its id, the
// names of its fields and their types, and no value of any: no name of a person, no
// token, no address beyond host and words of the path. Compare them with those in
// this package's testdata, or attach them to a report.
//
// # Use
//
// [Begin] opens the page; each [Flow.Continue] answers one [Challenge], until it is
// of kind [Done]. Where the user answers elsewhere ([Kind.Polls]) the program polls,
// or calls [Flow.Wait]. [Run] is that loop, for programs that can ask at once, and
// [Pages] makes it a credential of the broker ([broker.WebFlow]) or a part of a
// Prompter. A program that cannot, such as a PAM module that runs anew for each
// answer, keeps the flow by [Flow.Save] and goes on by [Resume].
//
// # What it takes care of
//
// Requests go to the sign-in hosts of the cloud by https and nowhere else, checked
// hop by hop; the one exception is the federation server that the service names for
// the user's domain, which alone gets the password of such a user. Cookies stay in
// the flow. A password, a code and an assertion are sent once and not kept. No error
// has content of a page.
//
// This is unofficial: it signs in as a browser would, with a first-party client id
// as a public client, and is not supported by Microsoft.
package webflow
