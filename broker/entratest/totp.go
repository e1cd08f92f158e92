package entratest

import (
	"fmt"
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/totp"
)

// TOTP returns the code that an authenticator app with a base32 secret shows at a
// time.
func TOTP(secret string, at time.Time) (string, error) {
	raw, err := totp.Secret(secret)
	if err != nil {
		return "", fmt.Errorf("entratest: %w", err)
	}
	return totp.Code(raw, uint64(at.Unix())/totp.Step), nil
}
