package fido

import (
	"context"
	"errors"
	"sync"

	"github.com/prtbroker/prtbroker/broker/webflow/fido/internal/ctap2"
	"github.com/prtbroker/prtbroker/broker/webflow/fido/internal/ctaphid"
)

// An authenticator is an opened key.
type authenticator struct {
	name    string
	channel *ctaphid.Channel
	info    *ctap2.Info
}

// Send implements [ctap2.Transport].
func (a *authenticator) Send(ctx context.Context, message []byte, touch func() error) ([]byte, error) {
	asked := false
	return a.channel.Call(ctx, ctaphid.CommandCBOR, message, func(status byte) error {
		if status != ctaphid.StatusTouch || asked || touch == nil {
			return nil
		}
		asked = true
		return touch()
	})
}

func closeAll(plugged []*authenticator) {
	for _, a := range plugged {
		a.channel.Close()
	}
}

// open opens the plugged-in keys that speak CTAP2. A key that fails does not hide
// the others.
func (k *Key) open(ctx context.Context) ([]*authenticator, error) {
	list := k.Devices
	if list == nil {
		list = USB
	}
	devices, err := list(ctx)
	if err != nil {
		return nil, err
	}
	opened, failures := make([]*authenticator, len(devices)), make([]error, len(devices))
	var all sync.WaitGroup
	for i, d := range devices {
		all.Go(func() { opened[i], failures[i] = openDevice(ctx, d) })
	}
	all.Wait()
	var plugged []*authenticator
	err = ErrNoKey
	for i, a := range opened {
		if a != nil {
			plugged = append(plugged, a)
		} else if errors.Is(err, ErrNoKey) && !errors.Is(failures[i], ErrNoKey) {
			err = said(ctx, failures[i])
		}
	}
	if ctx.Err() != nil {
		closeAll(plugged)
		return nil, ctx.Err()
	}
	if len(plugged) == 0 {
		return nil, err
	}
	return plugged, nil
}

// openDevice opens one device.
func openDevice(ctx context.Context, d Device) (*authenticator, error) {
	rw, err := d.Open(ctx)
	if err != nil {
		return nil, err
	}
	channel, err := ctaphid.Open(ctx, rw)
	if err != nil {
		return nil, err
	}
	a := &authenticator{name: label(d.Name), channel: channel}
	if channel.Capabilities&ctaphid.CapabilityCBOR == 0 {
		channel.Close()
		return nil, ErrNoKey // it only speaks U2F
	}
	if a.info, err = ctap2.GetInfo(ctx, a); err != nil {
		channel.Close()
		return nil, err
	}
	return a, nil
}

// choose picks the key to use: the one that holds a credential of the user, or
// else the one that the user touches.
func (k *Key) choose(ctx context.Context, plugged []*authenticator, q *ctap2.Request) (*authenticator, error) {
	if len(plugged) == 1 {
		return plugged[0], nil
	}
	fit := plugged
	if len(q.Credentials) > 0 {
		if holding := holders(ctx, plugged, q); len(holding) > 0 {
			fit = holding
		}
	}
	if len(fit) == 1 {
		return fit[0], nil
	}
	return k.touched(ctx, fit, q)
}

// holders returns the keys that report one of the credentials. A key that answers
// with an error does not affect the others.
func holders(ctx context.Context, plugged []*authenticator, q *ctap2.Request) (holding []*authenticator) {
	for _, a := range plugged {
		if ok, err := ctap2.Holds(ctx, a, a.info, q); ok && err == nil {
			holding = append(holding, a)
		}
	}
	return holding
}

// touched waits until one of the keys is touched, and tells the others to stop.
func (k *Key) touched(ctx context.Context, plugged []*authenticator, q *ctap2.Request) (*authenticator, error) {
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	type outcome struct {
		a   *authenticator
		err error
	}
	outcomes := make(chan outcome, len(plugged))
	ask := sync.OnceValue(k.touch(ctx, ""))
	for _, a := range plugged {
		go func() { outcomes <- outcome{a, ctap2.Select(waiting, a, a.info, q, ask)} }()
	}
	var chosen *authenticator
	var failure error
	for range plugged {
		o := <-outcomes
		switch {
		case o.err == nil && chosen == nil:
			chosen = o.a
			stop()
		case failure == nil && o.err != nil:
			failure = o.err
		}
	}
	if chosen == nil {
		return nil, failure
	}
	return chosen, nil
}
