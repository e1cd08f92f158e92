package broker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/prt"
)

// A tenant is named as discovery does or, without that, as it was configured, and
// not at all where only its id is known.
func TestTenantName(t *testing.T) {
	t.Parallel()
	b := &Broker{sts: sts.New(sts.Config{Cloud: sts.Cloud{}.WithDefaults()})}
	defer b.sts.Close()
	for name, tt := range map[string]struct {
		discovered string
		configured []string
		tenant     string
		ofDevice   string
	}{
		"both":       {"contoso.onmicrosoft.example", []string{"contoso.example", "x.example"}, "contoso.onmicrosoft.example", "contoso.example"},
		"configured": {"", []string{"contoso.example", "x.example"}, "contoso.example", "contoso.example"},
		"discovered": {"contoso.onmicrosoft.example", nil, "contoso.onmicrosoft.example", ""},
		"only an id": {"", nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := &device.Record{TenantID: "f3d10000-0000-4000-8000-000000000002", TenantNames: tt.configured, Endpoints: sts.Endpoints{TenantName: tt.discovered}}
			require.Equal(t, tt.tenant, b.tenant(r).Name)
			require.Equal(t, tt.ofDevice, deviceOf(&device.Device{Record: r, Cert: &prt.DeviceCertificate{}}).TenantName)
		})
	}
}
