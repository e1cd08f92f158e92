package tpmtest

import (
	"bytes"
	"encoding/base64"
)

// Blobs of a software TPM that no longer exists, as another TPM's.
var (
	sampleKey = []byte(`Parent-Name: 000b920fd7de2e6590d0a01842f1e042263bcb1b795c69f0c29acd303a9eeb34a1dc
-----BEGIN TSS2 PRIVATE KEY-----
MIHwBgZngQUKAQOgAwEB/wIEQAAAAQRYAFYAIwALAAQEcgAAABAAEAADABAAIBuh
aCckoGoU32qt2eQYYtuABuESUD4m4HuovD8XPNIDACDhBt6jOgMqgu6p44NsXyny
1MXNYmFiVbKtd4FiTJ9UPgSBgAB+ACBcOEqJAhd1L+WWR69RtQtLlXkq5WAX1KIE
HQb3K7T7kwAQCXbbJN7DnRZVj9q6Um1iXu5v05jJlMEYeN4sDn7HNGhEmOrdTKIR
cy2unLRq6VeLMlDNJTWUhOCRyV8fWJhkhCK6H8HmLYa6rh+fxH9fF+1mmZcEHfHg
MRR7
-----END TSS2 PRIVATE KEY-----
`)
	sampleSession = unbase64("cHJ0YnJva2VyAAEBAgUABEAAAAEAIgALkg/X3i5lkNCgGELx4EImO8sbeVxp8MKazTA6nus0odwAMAAIAAsABARSAAAABQAL" +
		"ACCWHw+kIo3v0kz2mofBkXphxKaoWYO1vkWnoBk9HzAXOgCeACAOfHwbQO4cxiYMbbQMgnr76tu29r6+DHJr+vbJj278ugAQ" +
		"/69E7lPQmGYWuO+wrjPI6J1ieCv+YpoB8EO/X644Fn1OtdAQVJJDrxqQNN9fJkI7qHBU8aWgnncd7i3V5p+4cuGBb+9G1iRc" +
		"XO+1AkIVT4bobMeClsHiq2f5aU7fEVYABoYSjSYejsvw7Y1r/1SOAqZG/I/biwEepxoAAA==")
	sampleSealed = unbase64("cHJ0YnJva2VyAAEBAwYABEAAAAEAIgALR42Z6rbc3KouhF9DKS2o1kyP1DJ7GJv+a+Ad5n7XssQALgAIAAsAAARSAAAAEAAghaRF" +
		"Vf8Qm47w/o9mzQyvljUGkCHl4JPyE/3Kxs+93bIAkwAgRSEdSg4Zytn5ybTZAb0h1fpWCG4m8NDF1pY6fvIvekwAEESoPZhI6Hke" +
		"8J4SE6hZfjANTh0OOTvDZLVvg7NEcEyJPBYUBidhn0/OB3iSQY+XCMJwyVUTnEeOzBUGGAZ6bWvzVuLVXBau1tVWIabhDd6rIul5" +
		"2EhcM79frEjoJLB1w6GHP92tKQCIQDXqGZ9WbwAAACIAC3flA41GF0n+R4f/OsBnKhxWqgld2Uoym9Tof5GDLYWY")
)

func unbase64(s string) []byte {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// Samples returns blobs of a TPM that no longer exists: a P-256 device key, a
// session key and a sealed data key. They parse, but do not open anywhere.
func Samples() (key, session, sealed []byte) {
	return bytes.Clone(sampleKey), bytes.Clone(sampleSession), bytes.Clone(sampleSealed)
}
