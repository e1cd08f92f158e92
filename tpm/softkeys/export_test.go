package softkeys

import "github.com/prtbroker/prtbroker/tpm"

// PIN returns the PIN that a key holds, not a copy.
func PIN(k tpm.Key) []byte { return k.(*pinSigner).pin.Bytes() }
