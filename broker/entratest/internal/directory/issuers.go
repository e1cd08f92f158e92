package directory

// IssuerV1 returns the issuer of a tenant's tokens of version 1.0. Base is the URL of
// the sign-in service, with a slash at the end; "": its real host names.
func IssuerV1(base, tenantID string) string {
	if base == "" {
		base = "https://sts.windows.net/"
	}
	return base + tenantID + "/"
}

// IssuerV2 returns the issuer of a tenant's tokens of version 2.0.
func IssuerV2(base, tenantID string) string {
	if base == "" {
		base = "https://login.microsoftonline.com/"
	}
	return base + tenantID + "/v2.0"
}
