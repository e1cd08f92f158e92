package kerberos_test

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/prt/kerberos"
)

type vectors struct {
	ASRep []struct {
		Name      string `json:"name"`
		Realm     string `json:"realm"`
		Client    string `json:"client"`
		ClientKey string `json:"client_key"`
		KeyType   int    `json:"key_type"`
		Key       string `json:"key"`
		Ticket    string `json:"ticket"`
		Part      string `json:"part"`
		ASRep     []byte `json:"as_rep"`
	} `json:"as_rep"`
	NFold []struct {
		In   string `json:"in"`
		Size int    `json:"size"`
		Out  string `json:"out"`
	} `json:"nfold"`
	CTS []struct {
		Key        string `json:"key"`
		Usage      uint32 `json:"usage"`
		Plaintext  string `json:"plaintext"`
		Ciphertext string `json:"ciphertext"`
	} `json:"cts"`
}

func TestKerberosVectors(t *testing.T) {
	v := load(t)
	for _, tt := range v.NFold {
		require.Equal(t, tt.Out, hex.EncodeToString(kerberos.NFold(unhex(t, tt.In), tt.Size)))
	}
	// RFC 3961 A.1.
	for in, want := range map[string]string{
		"012345": "be072631276b1955", "password": "78a07b6caf85fa", "Rough Consensus, and Running Code": "bb6ed30870b7f0e0",
		"MASSACHVSETTS INSTITVTE OF TECHNOLOGY": "db3b0d8f0b061e603282b308a50841229ad798fab9540c1b",
		"kerberos":                              "6b65726265726f737b9b5b2b93132b93",
	} {
		require.Equal(t, want, hex.EncodeToString(kerberos.NFold([]byte(in), len(want)/2)))
	}
	require.Len(t, v.CTS, 12)
	for _, tt := range v.CTS {
		message := unhex(t, tt.Ciphertext)
		plain, err := kerberos.Decrypt(unhex(t, tt.Key), tt.Usage, message)
		require.NoError(t, err)
		require.Equal(t, tt.Plaintext, hex.EncodeToString(plain))
		for i := range message {
			message[i] ^= 1
			_, err := kerberos.Decrypt(unhex(t, tt.Key), tt.Usage, message)
			require.ErrorContains(t, err, "does not decrypt", "byte %d changed", i)
			message[i] ^= 1
		}
		_, err = kerberos.Decrypt(unhex(t, tt.Key), tt.Usage+1, message)
		require.ErrorContains(t, err, "does not decrypt", "another key usage")
		for n := range message {
			_, err := kerberos.Decrypt(unhex(t, tt.Key), tt.Usage, message[:n])
			require.ErrorContains(t, err, "does not decrypt", "truncated to %d", n)
		}
	}
}
