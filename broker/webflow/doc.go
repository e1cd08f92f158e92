// Package webflow signs a user in on the pages of Microsoft Entra ID without a
// browser, for login managers and other programs that have a keyboard and no window.
// It reads the pages, asks the program for a password, a code, an approval or a
// security key, and ends with a refresh token that [broker.Broker.SignIn] turns into a
// PRT, including the MFA claim.
//
//	f, c, err := webflow.Begin(ctx, webflow.Options{
//		Tenant: "contoso.example", Username: "carol@contoso.example", Password: "paper clip", MFA: true,
//		Transport: entra.Transport(),
//	})
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer f.Close()
//	fmt.Println(c.Kind, c.Number > 0, c.PollEvery)
//
//	entra.AnswerNumberMatch("carol", c.Number) // carol, on the phone
//	c, err = f.Continue(ctx, webflow.Answer{Poll: true})
//
// # Unstable
//
// Microsoft does not document these pages and may change them at any time. They are
// written for browsers, and public clients that read them had to be fixed about every
// two months. This package is as unstable as the pages: one that it does not know, or
// that lacks something it needs, ends the sign-in with [ErrPage], whose text names the
// page or the field but contains nothing else from the page. Fall back to the device
// code flow ([broker.DeviceCodeFlow]), which is a documented protocol. ErrPage is also
// an errors.ErrUnsupported, so a broker whose Prompter returns it falls back to a
// device code by itself.
//
// When a page has changed, run the sign-in once more with WEBFLOW_RECORD=DIR in the
// environment (or set [Options].Record). For each page this writes a file with the
// page's id and the names and types of its fields, but no values: no names of people,
// no tokens, and no addresses beyond the host and the words of the path. Compare the
// files with those in this package's testdata, or attach them to a report.
//
// # Use
//
// [Begin] opens the page. Each [Flow.Continue] answers one [Challenge], until a
// challenge is of kind [Done]. If the user answers on another device ([Kind.Polls]),
// the program polls or calls [Flow.Wait]. [Run] is this loop for programs that can
// prompt immediately, and [Pages] turns it into a credential of the broker
// ([broker.WebFlow]) or a part of a Prompter. Other programs, such as a PAM module
// that is started anew for each answer, save the flow with [Flow.Save] and continue it
// with [Resume].
//
// # What it takes care of
//
// Requests go only to the sign-in hosts of the cloud, over HTTPS, and every redirect
// is checked. The one exception is the federation server that the service names for
// the user's domain; the password of such a user goes only to that server. Cookies
// stay in the flow. A password, a code and an assertion are sent once and not kept.
// Errors do not contain page content.
//
// This is unofficial: it signs in as a browser would, with a first-party client id
// as a public client, and is not supported by Microsoft.
package webflow
