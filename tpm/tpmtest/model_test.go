package tpmtest_test

import (
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// What a signature costs behind a resource manager, which swaps a session and
// an object around it.
func ExampleChip() {
	commands := []tpm2.TPMCC{
		tpm2.TPMCCContextLoad, tpm2.TPMCCContextLoad, tpm2.TPMCCSign,
		tpm2.TPMCCContextSave, tpm2.TPMCCFlushContext, tpm2.TPMCCContextSave,
	}
	for _, c := range tpmtest.Chips {
		fmt.Println(c.Name, c.Time(commands))
	}
	// Output:
	// slow 303ms
	// middling 139ms
	// fast 30ms
}
