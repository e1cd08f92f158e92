package entracontainer_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/testcontainers/testcontainers-go"

	"github.com/prtbroker/prtbroker/broker/entratest"
	entracontainer "github.com/prtbroker/prtbroker/broker/entratest/testcontainers"
)

// A tenant of one user, for a service that finds its issuer.
func Example() {
	discover := func(ctx context.Context) error {
		tenant, err := entracontainer.Run(ctx, entracontainer.Image, entratest.Options{
			Users: []entratest.User{{Username: "ann", Password: "correct horse"}},
		})
		defer func() { _ = testcontainers.TerminateContainer(tenant) }()
		if err != nil {
			return err
		}
		issuer := tenant.Authority() + "/v2.0"

		resp, err := tenant.Client().Get(issuer + "/.well-known/openid-configuration")
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answered %s", issuer, resp.Status)
		}
		return resp.Body.Close()
	}
	_ = discover
}
