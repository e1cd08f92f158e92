package dbus_test

import (
	"context"
	"sync"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/dbus"
	"github.com/prtbroker/prtbroker/broker/dbus/internal/wire"
	"github.com/prtbroker/prtbroker/internal/bustest"
)

// An idle service ends by itself, and loses no call that came meanwhile.
func TestServiceIdle(t *testing.T) {
	bus := bustest.Start(t)
	w := newWorld(t)
	s := &dbus.Service{Handler: w.h, Address: bus.Address, Idle: 50 * time.Millisecond}
	require.NoError(t, s.Run(t.Context()))
}

// Calls that arrive while an idle service ends are answered, by it or by the
// one that the bus starts next.
func TestServiceIdleLosesNothing(t *testing.T) {
	bus := bustest.Start(t)
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready := make(chan struct{}, 1)
	var wg sync.WaitGroup
	wg.Go(func() { // plays the activation
		for ctx.Err() == nil {
			s := &dbus.Service{Handler: w.h, Address: bus.Address, Idle: time.Millisecond, Ready: func() {
				select {
				case ready <- struct{}{}:
				default:
				}
			}}
			_ = s.Run(ctx)
		}
	})
	c := dial(t, bus)
	<-ready
	answered := 0
	for answered < 200 {
		var text string
		err := object(c).Call(wire.Interface+"."+wire.GetVersion, 0, "0.0", "", "{}").Store(&text)
		if err != nil {
			require.ErrorContains(t, err, "not provided by any .service files", "a call was dropped")
			continue
		}
		answered++
	}
	cancel()
	wg.Wait()
}

// A call that arrives while an idle service gives its name back has the time
// that the user takes.
func TestServiceIdleWaitsForTheUser(t *testing.T) {
	bus := bustest.Start(t)
	w := newWorld(t)
	up := make(chan struct{}, 1)
	w.person.hang.Store(&up)
	c := dial(t, bus)
	done := make(chan *godbus.Call, 1)
	s := &dbus.Service{Handler: w.h, Address: bus.Address, Idle: time.Millisecond}
	s.Releasing(func() {
		object(c).Go(wire.Interface+"."+wire.AcquireInteractive, 0, done, "0.0", "", interactiveRequest("api://payroll/.default"))
		<-up
	}, time.Nanosecond)
	ran := make(chan error, 1)
	go func() { ran <- s.Run(context.Background()) }()
	require.Eventually(t, func() bool {
		return object(c).Call(wire.Interface+"."+wire.GetVersion, 0, "0.0", "", "{}").Err != nil && w.h.Interactive() == 1
	}, time.Minute, 5*time.Millisecond, "the name is given back")
	require.Empty(t, ran)
	w.person.back()
	call := <-done
	require.NoError(t, call.Err)
	require.Contains(t, call.Body[0], "accessToken")
	require.NoError(t, <-ran)
}

// A service that the bus starts ends with its bus: the next one starts another.
func TestServiceIdleEndsWithItsBus(t *testing.T) {
	bus := bustest.Start(t)
	w := newWorld(t)
	ready := make(chan struct{}, 1)
	s := &dbus.Service{Handler: w.h, Address: bus.Address, Idle: time.Second, Ready: func() { ready <- struct{}{} }}
	ran := make(chan error, 1)
	go func() { ran <- s.Run(t.Context()) }()
	<-ready
	bus.Down()
	require.NoError(t, <-ran)
}
