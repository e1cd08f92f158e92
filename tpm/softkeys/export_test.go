package softkeys

import (
	"encoding/binary"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/internal/envelope"
)

// PIN returns the PIN that a key holds, not a copy.
func PIN(k tpm.Key) []byte { return k.(*pinSigner).pin.Bytes() }

// Acceptable reports whether a record may have a cost.
func Acceptable(time, memory uint32, threads byte) bool {
	return argonCost{time, memory, threads}.acceptable()
}

// Cost returns what a key's record says of Argon2id: passes, KiB and threads.
func Cost(k tpm.Key) (time, memory uint32, threads byte) {
	signer := k.(*pinSigner)
	_, locked, err := signer.s.decrypt(envelope.Key, signer.blob, nil)
	if err != nil {
		panic(err)
	}
	return binary.BigEndian.Uint32(locked), binary.BigEndian.Uint32(locked[4:]), locked[8]
}
