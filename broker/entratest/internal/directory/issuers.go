package directory

// IssuerV1 is the issuer of a tenant's tokens of version 1.0. Base is where the
// sign-in service is, with a slash at the end; "": at its real host names.
func IssuerV1(base, tenantID string) string {
	if base == "" {
		base = "https://sts.windows.net/"
	}
	return base + tenantID + "/"
}

// IssuerV2 is the issuer of a tenant's tokens of version 2.0.
func IssuerV2(base, tenantID string) string {
	if base == "" {
		base = "https://login.microsoftonline.com/"
	}
	return base + tenantID + "/v2.0"
}
