package directory

// IssuerV1 is the issuer of a tenant's tokens of version 1.0.
func IssuerV1(tenantID string) string { return "https://sts.windows.net/" + tenantID + "/" }

// IssuerV2 is the issuer of a tenant's tokens of version 2.0.
func IssuerV2(tenantID string) string {
	return "https://login.microsoftonline.com/" + tenantID + "/v2.0"
}
