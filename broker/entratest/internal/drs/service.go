// Package drs emulates the device registration service: join, hybrid join, unjoin, and
// Windows Hello for Business keys (MS-DVRJ, MS-KPP).
package drs

import (
	"time"

	"github.com/prtbroker/prtbroker/broker/entratest/internal/access"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/mint"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/session"
	"github.com/prtbroker/prtbroker/broker/entratest/internal/web"
)

// Service is the device registration service.
type Service struct {
	Keeper *session.Keeper
	Access *access.Engine
	Mint   *mint.Mint
	Web    *web.Router

	RequireMFAToJoin bool
	ReplicationLag   time.Duration // how long after a join the sign-in service does not know the device
	ReplicationTries int           // refused attempts that end the lag early; negative: only the clock ends it
}
