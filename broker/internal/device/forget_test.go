package device_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/device"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/broker/internal/vault"
	"github.com/prtbroker/prtbroker/broker/store"
)

// What another process forgets is forgotten here, with its tokens; what it
// registers anew stays when this one then forgets the old.
func TestForget(t *testing.T) {
	t.Parallel()
	m, ctx := newMachine(t), t.Context()
	p, q := m.start(), m.start()
	_, err := p.Forget(ctx)
	require.ErrorIs(t, err, device.ErrNone)
	first, _, err := p.Register(ctx, device.Request{Token: p.token(t)})
	require.NoError(t, err)
	_, err = q.Current(ctx)
	require.NoError(t, err)

	gone, err := p.Forget(ctx)
	require.NoError(t, err)
	require.True(t, gone)
	require.Equal(t, 1, p.gone)
	second, _, err := p.Register(ctx, device.Request{Token: p.token(t)})
	require.NoError(t, err)
	require.NotEqual(t, first.Cert.DeviceID, second.Cert.DeviceID)

	gone, err = q.Forget(ctx)
	require.NoError(t, err)
	require.False(t, gone, "the one that it used is gone, and the new one is not its")
	require.Equal(t, 1, q.gone)
	now, err := q.Current(ctx)
	require.NoError(t, err)
	require.Equal(t, second.Cert.DeviceID, now.Cert.DeviceID)
}

// The device object is deleted by the certificate, and not without it.
func TestDelete(t *testing.T) {
	t.Parallel()
	m, ctx := newMachine(t), t.Context()
	p := m.start()
	d, _, err := p.Register(ctx, device.Request{Token: p.token(t)})
	require.NoError(t, err)
	var said *sts.Error
	require.ErrorAs(t, p.Delete(ctx, d, nil), &said)
	require.True(t, said.Said)
	require.Len(t, m.srv.Devices(), 1)
}

// A data key that was lost is damage: the registration in memory is not let go for it.
func TestNoticeOfDamage(t *testing.T) {
	t.Parallel()
	m, ctx := newMachine(t), t.Context()
	p := m.start()
	d, _, err := p.Register(ctx, device.Request{Token: p.token(t)})
	require.NoError(t, err)
	names, err := m.store.List(ctx, "device-")
	require.NoError(t, err)
	for _, n := range names {
		if strings.HasSuffix(n, vault.KeySuffix) {
			_, v, err := m.store.Get(ctx, n)
			require.NoError(t, err)
			require.NoError(t, m.store.Delete(ctx, n, v))
		}
	}
	require.ErrorIs(t, p.Notice(ctx), store.ErrDamaged)
	require.Same(t, d, p.Open())
	require.Zero(t, p.gone)
}

// Whoever reads the log learns that another process unregistered the device, once.
func TestNoticeIsLogged(t *testing.T) {
	t.Parallel()
	m, ctx := newMachine(t), t.Context()
	var log bytes.Buffer
	m.log = &log
	p := m.start()
	m.log = io.Discard
	q := m.start()
	d, _, err := p.Register(ctx, device.Request{Token: p.token(t)})
	require.NoError(t, err)
	log.Reset()
	require.NoError(t, p.Notice(ctx))
	require.Empty(t, log.String())
	_, err = q.Load(ctx)
	require.NoError(t, err)
	gone, err := q.Forget(ctx)
	require.NoError(t, err)
	require.True(t, gone)
	require.NoError(t, p.Notice(ctx))
	require.Contains(t, log.String(), "another process has unregistered the device")
	require.Contains(t, log.String(), d.Cert.DeviceID)
	log.Reset()
	require.NoError(t, p.Notice(ctx))
	require.Empty(t, log.String())
	require.Equal(t, 1, p.gone)
}
