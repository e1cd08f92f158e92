// Package claims reads what the tokens of Entra ID say about a sign-in: by
// which methods, with MFA or without, when, and on which device. It verifies
// nothing (package claims/verify does), does no I/O and reads no clock.
//
//	t, err := claims.Parse(idToken)
//	if err != nil {
//		return err
//	}
//	fmt.Println(t.Username, t.Methods, t.Evidence(claims.SourceIDToken).MFA)
//
// [Parse] reads an ID or access token, version 1.0 or 2.0. [Methods] is a set
// of authentication methods that reads and writes the amr claim and has the
// values of Graph's authenticationMethodModes, so that package policy compares
// it with an authentication strength in one operation.
//
// [Evidence] is what is known about MFA: Yes, No or Unknown, how and when.
// Most tokens carry no amr claim; that is Unknown, and never No. Evidence about
// the same PRT is merged by [Evidence.Merge], whose rules keep a renewal from
// looking like a fresh sign-in.
//
// [FindClaims] reads the claims challenge of a resource (WWW-Authenticate), and
// [Request] merges it with what the client announces and asks for itself.
//
// All input is treated as hostile: sizes and depths are limited, duplicate
// members, invalid UTF-8 and second encodings of the same bytes are refused,
// and errors name the part that is wrong but none of its contents.
package claims
