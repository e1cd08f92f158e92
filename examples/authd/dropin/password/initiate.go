//go:build withmsentraid

package himmelblau

import (
	"context"

	"github.com/prtbroker/prtbroker/examples/authd"
)

// InitiateMFAFlowWithPassword is for versions of authd without passwordless
// sign-ins (before its pull request 1723).
func InitiateMFAFlowWithPassword(ctx context.Context, clientID, tenantID string, data *DeviceRegistrationData, username, password string, withDeviceScope bool) (*MFAFlowState, *MFAChallengeInfo, error) {
	p, err := current(ctx)
	if err != nil {
		return nil, nil, err
	}
	s, c, err := p.InitiateMFAFlow(ctx, clientID, tenantID, (*authd.DeviceRegistrationData)(data), username, password, withDeviceScope)
	if err != nil {
		return nil, nil, mfaError(err)
	}
	return newFlow(s), &MFAChallengeInfo{Message: c.Message, Method: c.Method, PollingIntervalMs: c.PollingIntervalMs, MaxPollAttempts: c.MaxPollAttempts}, nil
}
