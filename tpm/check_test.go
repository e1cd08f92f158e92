package tpm_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// Both software TPMs have what is needed, and the check makes nothing.
func TestCheck(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		count := tpmtest.NewCounting(e.Opener())
		s := open(t, count.Opener(), tpm.Config{})
		count.Take()
		require.NoError(t, s.Check(t.Context()))
		sent := count.Take()
		require.LessOrEqual(t, len(sent), 6)
		for _, cc := range sent {
			require.Contains(t, commands{tpm2.TPMCCTestParms, tpm2.TPMCCGetCapability}, cc)
		}
	})
}

// without removes commands from the list of those that a TPM has.
func without(lacks ...tpm2.TPMCC) func([]byte) []byte {
	return func(rsp []byte) []byte {
		// header, more data, capability, count, then TPMA_CC of 4 bytes each
		const list = 10 + 1 + 4
		if len(rsp) < list+4 || binary.BigEndian.Uint32(rsp[11:]) != uint32(tpm2.TPMCapCommands) {
			return rsp
		}
		rsp = bytes.Clone(rsp)
		for at := list + 4; at+4 <= len(rsp); at += 4 {
			for _, cc := range lacks {
				if binary.BigEndian.Uint16(rsp[at+2:]) == uint16(cc) {
					rsp[at] |= 0x20 // a vendor's command
				}
			}
		}
		return rsp
	}
}

// pagedTPM lists its commands a few at a time, and two pages of vendor commands
// after them, which are numbered from zero again (Part 2, 6.5).
type pagedTPM struct {
	transport.TPMCloser
	page, asked int
}

func (p *pagedTPM) Send(cmd []byte) ([]byte, error) {
	if tpm2.TPMCC(binary.BigEndian.Uint32(cmd[6:])) != tpm2.TPMCCGetCapability || binary.BigEndian.Uint32(cmd[10:]) != uint32(tpm2.TPMCapCommands) {
		return p.TPMCloser.Send(cmd)
	}
	if p.asked++; p.asked > 1000 {
		return nil, errors.New("it asks for ever")
	}
	first := binary.BigEndian.Uint32(cmd[14:])
	all, err := tpm2.GetCapability{Capability: tpm2.TPMCapCommands, PropertyCount: 256}.Execute(p.TPMCloser)
	if err != nil {
		return nil, err
	}
	list, err := all.CapabilityData.Data.Command()
	if err != nil {
		return nil, err
	}
	const vendor = 1 << 29
	var codes []uint32
	for _, c := range list.CommandAttributes {
		if !c.V {
			codes = append(codes, uint32(c.CommandIndex))
		}
	}
	for n := range uint32(2 * p.page) {
		codes = append(codes, vendor|n)
	}
	codes = slices.DeleteFunc(codes, func(cc uint32) bool { return cc < first })
	more := byte(0)
	if len(codes) > p.page {
		codes, more = codes[:p.page], 1
	}
	rsp := append(make([]byte, 10), more)
	rsp = binary.BigEndian.AppendUint32(rsp, uint32(tpm2.TPMCapCommands))
	rsp = binary.BigEndian.AppendUint32(rsp, uint32(len(codes)))
	for _, cc := range codes {
		rsp = binary.BigEndian.AppendUint32(rsp, cc)
	}
	binary.BigEndian.PutUint16(rsp, uint16(tpm2.TPMSTNoSessions))
	binary.BigEndian.PutUint32(rsp[2:], uint32(len(rsp)))
	return rsp, nil
}

// A TPM may give fewer commands at once than it is asked for.
func TestCheckOfPagedCommands(t *testing.T) {
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		p := &pagedTPM{page: 8}
		o := e.Opener()
		inner := o.Open
		o.Open = func(ctx context.Context) (transport.TPMCloser, error) {
			c, err := inner(ctx)
			p.TPMCloser = c
			return p, err
		}
		s := open(t, o, tpm.Config{})
		require.NoError(t, s.Check(t.Context()))
		all, err := tpm2.GetCapability{Capability: tpm2.TPMCapCommands, PropertyCount: 256}.Execute(e)
		require.NoError(t, err)
		list, err := all.CapabilityData.Data.Command()
		require.NoError(t, err)
		require.LessOrEqual(t, p.asked, (len(list.CommandAttributes)+2*p.page+p.page-1)/p.page, "each page once")
	})
}

func TestCheckNamesWhatIsLacking(t *testing.T) {
	parms := func(skip int, rc tpm2.TPMRC) []tpmtest.Fault {
		return []tpmtest.Fault{{On: tpm2.TPMCCTestParms, Skip: skip, RC: rc}}
	}
	lists := func(lacks ...tpm2.TPMCC) []tpmtest.Fault {
		return []tpmtest.Fault{{On: tpm2.TPMCCGetCapability, Times: -1, Tamper: without(lacks...)}}
	}
	tests := []struct {
		name   string
		faults []tpmtest.Fault
		lacks  []string
	}{
		{"P-256", parms(0, tpm2.TPMRCCurve), []string{"storage keys on P-256 with AES-128-CFB"}},
		{"RSA-2048", parms(1, tpm2.TPMRCValue), []string{"RSA keys of 2048 bits"}},
		{"HMAC with SHA-256", parms(2, tpm2.TPMRCHash), []string{"HMAC keys with SHA-256"}},
		{"TPM2_TestParms", parms(0, tpm2.TPMRCCommandCode), nil},
		{"policy commands", lists(counterTimer, authValue), []string{"TPM2_PolicyCounterTimer", "TPM2_PolicyAuthValue"}},
		{"one way to HMAC", lists(hmacCommand), nil},
		{"both ways to HMAC", lists(hmacCommand, tpm2.TPMCCHMACStart), []string{"TPM2_HMAC"}},
		{"one way to the time", lists(getTime), nil},
		{"both ways to the time", lists(getTime, policySecret), []string{"TPM2_GetTime"}},
	}
	onEmulators(t, func(t *testing.T, e *tpmtest.Emulator) {
		f := tpmtest.NewFaulty(e.Opener())
		s := open(t, f.Opener(), tpm.Config{})
		for _, tt := range tests {
			f.Inject(tt.faults...)
			err := s.Check(t.Context())
			f.Clear()
			if tt.lacks == nil {
				require.NoError(t, err, tt.name)
				continue
			}
			var lacks *tpm.CheckError
			require.ErrorAs(t, err, &lacks, tt.name)
			require.Equal(t, tt.lacks, lacks.Lacks, tt.name)
			require.ErrorIs(t, err, tpm.ErrUnsuitable)
			require.ErrorIs(t, err, errors.ErrUnsupported)
			require.ErrorContains(t, err, tt.lacks[0])
		}
		// A TPM in trouble does not lack anything.
		for _, rc := range []tpm2.TPMRC{tpm2.TPMRCFailure, tpm2.TPMRCInitialize, tpm2.TPMRCLocality, tpm2.TPMRCNVUnavailable, tpm2.TPMRCCanceled} {
			for _, on := range []tpm2.TPMCC{tpm2.TPMCCTestParms, tpm2.TPMCCGetCapability} {
				f.Inject(tpmtest.Fault{On: on, RC: rc, Times: -1})
				err := s.Check(t.Context())
				f.Clear()
				require.NotErrorIs(t, err, tpm.ErrUnsuitable, "%v", rc)
				require.True(t, errors.Is(err, tpm.ErrNoTPM) || errors.Is(err, tpm.ErrBusy), "%v: %v", rc, err)
			}
		}
	})
}
