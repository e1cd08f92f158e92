package seed_test

import (
	"fmt"
	"os"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/broker/entratest/seed"
)

// A server that is like the tenant that was exported.
func Example() {
	offline := func() error {
		tenant, err := seed.FromGraph(os.DirFS("export"), seed.Config{Password: "correct horse"})
		if err != nil {
			return err
		}
		for _, r := range tenant.Remarks {
			fmt.Println(r)
		}
		srv, err := entratest.Start(tenant.Options)
		if err != nil {
			return err
		}
		defer srv.Close()
		return nil
	}
	_ = offline
}
