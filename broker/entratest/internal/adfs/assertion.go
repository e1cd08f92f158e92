package adfs

import "github.com/prtbroker/prtbroker/broker/entratest/internal/directory"

// assertion makes a signed SAML assertion, in canonical form throughout. It
// states multipleauthn when the user gave a second factor (Entra, "Use AD FS
// with Microsoft Entra multifactor authentication").
func (s *Server) assertion(u *directory.User, host, version string, multiple bool) string {
	now := s.Keeper.Now().UTC()
	id := "_" + s.Keeper.Rand.GUID()
	begin, until := now.Format(xmlTime), now.Add(assertionLife).Format(xmlTime)
	var head, tail string
	if version == SAML11 {
		subject := `<saml:Subject><saml:NameIdentifier Format="urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified">` + ImmutableID(u) +
			`</saml:NameIdentifier><saml:SubjectConfirmation><saml:ConfirmationMethod>urn:oasis:names:tc:SAML:1.0:cm:bearer</saml:ConfirmationMethod></saml:SubjectConfirmation></saml:Subject>`
		head = `<saml:Assertion xmlns:saml="` + SAML11 + `" AssertionID="` + id + `" IssueInstant="` + begin + `" Issuer="` + Issuer(host) + `" MajorVersion="1" MinorVersion="1">` +
			`<saml:Conditions NotBefore="` + begin + `" NotOnOrAfter="` + until + `"><saml:AudienceRestrictionCondition><saml:Audience>` + CloudAudience + `</saml:Audience></saml:AudienceRestrictionCondition></saml:Conditions>` +
			`<saml:AttributeStatement>` + subject + `<saml:Attribute AttributeName="UPN" AttributeNamespace="http://schemas.xmlsoap.org/claims"><saml:AttributeValue>` + Escape(u.UPN) + `</saml:AttributeValue></saml:Attribute>` +
			`<saml:Attribute AttributeName="ImmutableID" AttributeNamespace="http://schemas.microsoft.com/LiveID/Federation/2008/05"><saml:AttributeValue>` + ImmutableID(u) + `</saml:AttributeValue></saml:Attribute>` +
			methodsReference(multiple, `AttributeName="authnmethodsreferences" AttributeNamespace="http://schemas.microsoft.com/claims"`) + `</saml:AttributeStatement>` +
			`<saml:AuthenticationStatement AuthenticationInstant="` + begin + `" AuthenticationMethod="urn:oasis:names:tc:SAML:1.0:am:password">` + subject + `</saml:AuthenticationStatement>`
	} else {
		head = `<saml:Assertion xmlns:saml="` + saml20 + `" ID="` + id + `" IssueInstant="` + begin + `" Version="2.0"><saml:Issuer>` + Issuer(host) + `</saml:Issuer>`
		tail = `<saml:Subject><saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">` + ImmutableID(u) +
			`</saml:NameID><saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"></saml:SubjectConfirmation></saml:Subject>` +
			`<saml:Conditions NotBefore="` + begin + `" NotOnOrAfter="` + until + `"><saml:AudienceRestriction><saml:Audience>` + CloudAudience + `</saml:Audience></saml:AudienceRestriction></saml:Conditions>` +
			`<saml:AttributeStatement><saml:Attribute Name="IDPEmail"><saml:AttributeValue>` + Escape(u.UPN) + `</saml:AttributeValue></saml:Attribute>` +
			methodsReference(multiple, `Name="http://schemas.microsoft.com/claims/authnmethodsreferences"`) + `</saml:AttributeStatement>` +
			`<saml:AuthnStatement AuthnInstant="` + begin + `"><saml:AuthnContext><saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>`
	}
	tail += `</saml:Assertion>`
	return head + s.xmlSignature(id, head+tail) + tail
}

// methodsReference returns the attribute that states a second factor.
func methodsReference(multiple bool, name string) string {
	if !multiple {
		return ""
	}
	return `<saml:Attribute ` + name + `><saml:AttributeValue>` + MultipleAuthn + `</saml:AttributeValue></saml:Attribute>`
}

// xmlSignature signs canonical XML.
func (s *Server) xmlSignature(id, signed string) string {
	return s.Mint.Keys.SignXML(id, signed)
}
