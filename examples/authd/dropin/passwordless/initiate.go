//go:build withmsentraid

package himmelblau

import (
	"context"

	"github.com/prtbroker/prtbroker/examples/authd"
)

// InitiateMFAFlow is for versions of authd with passwordless sign-ins and
// security keys (since its pull request 1723).
func InitiateMFAFlow(ctx context.Context, clientID, tenantID string, data *DeviceRegistrationData, username, password string, withDeviceScope bool, authOpts ...AuthOption) (*MFAFlowState, *MFAChallengeInfo, error) {
	p, err := current(ctx)
	if err != nil {
		return nil, nil, err
	}
	var opts []authd.AuthOption
	for _, o := range authOpts {
		opts = append(opts, authd.AuthOption(o))
	}
	s, c, err := p.InitiateMFAFlow(ctx, clientID, tenantID, (*authd.DeviceRegistrationData)(data), username, password, withDeviceScope, opts...)
	if err != nil {
		return nil, nil, mfaError(err)
	}
	return newFlow(s), (*MFAChallengeInfo)(c), nil
}
