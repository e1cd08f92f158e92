package why_test

import (
	"fmt"

	"github.com/prtbroker/prtbroker/broker/why"
)

// A machine that is not registered has no PRT.
func ExampleExplain() {
	e := why.Explain(why.Snapshot{
		Now:      now,
		ClientID: "4a1b2c3d-0000-4000-8000-000000000001",
		Scopes:   []string{"api://payroll/.default"},
		Resource: "api://payroll",
	})
	fmt.Println(e.Verdict, "because", e.Because)
	// Output: asked because the device is not registered, so that there is no PRT
}
