package kerberos

// What the tests check against vectors.
var (
	NFold     = nfold
	Decrypt   = decryptKerberos
	OpenASRep = openASRep
)

// ReadPart reads the decrypted part of an AS-REP.
func ReadPart(der []byte) (*Ticket, error) {
	t := &Ticket{}
	return t, t.readPart(der)
}
