package broker_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/tpm"
)

// checkedKeys answers tpm.TPM's Check.
type checkedKeys struct {
	tpm.KeyStore
	err error
}

func (k checkedKeys) Check(context.Context) error { return k.err }

// A TPM that cannot hold the keys is refused before a credential leaves the
// process, and the error says what it lacks.
func TestEnrollWithAnUnsuitableTPM(t *testing.T) {
	t.Parallel()
	lacks := &tpm.CheckError{Lacks: []string{"RSA keys of 2048 bits"}}
	for _, tt := range []struct {
		name string
		err  error
		want []error
		says string
	}{
		{"lacks something", lacks, []error{tpm.ErrUnsuitable, errors.ErrUnsupported}, "RSA keys of 2048 bits"},
		{"busy", tpm.ErrBusy, []error{broker.ErrTransient}, "busy"},
		{"gone", tpm.ErrNoTPM, []error{broker.ErrTransient}, "no TPM"},
	} {
		w := newWorld(t)
		w.cfg.Keys = checkedKeys{w.cfg.Keys, tt.err}
		require.NoError(t, w.b.Close())
		w.b = w.open()
		w.wire.take()
		_, err := w.b.Enroll(t.Context(), broker.Password{Username: alice, Password: password}, broker.EnrollRequest{})
		for _, want := range tt.want {
			require.ErrorIs(t, err, want, tt.name)
		}
		require.ErrorContains(t, err, tt.says, tt.name)
		require.NotErrorIs(t, err, broker.ErrKeyUnusable, tt.name)
		require.Empty(t, w.wire.take(), tt.name)
		s, err := w.b.Status(t.Context())
		require.NoError(t, err)
		require.False(t, s.Registered, tt.name)
	}
}

// On a registered device Enroll is SignIn: the credential gets the PRT by itself.
func TestEnrollOnARegisteredDevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMemory)
	log := &logbook{}
	w.cfg.Logger = slog.New(log)
	w.reopen()
	w.join()
	require.Contains(t, log.take(), "device registered")
	var steps []broker.Step
	res, err := w.b.Enroll(t.Context(), broker.Password{Username: alice, Password: password}, broker.EnrollRequest{Progress: func(s broker.Step) { steps = append(steps, s) }})
	require.NoError(t, err)
	require.Equal(t, []broker.Step{broker.StepPRT}, steps)
	require.Equal(t, prt.ByPassword, w.status(res.Account).Credential)
	require.NotContains(t, log.take(), "device registered")
}
