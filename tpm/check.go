package tpm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-tpm/tpm2"
)

// ErrUnsuitable: the TPM works but lacks something that this package needs. It
// is also an [errors.ErrUnsupported]. See [CheckError].
var ErrUnsuitable = fmt.Errorf("tpm: the TPM cannot hold these keys: %w", errors.ErrUnsupported)

// CheckError is an [ErrUnsuitable] that names what is lacking.
type CheckError struct {
	// Lacks names what the TPM does not have, such as "RSA keys of 2048 bits" or
	// "TPM2_PolicyCounterTimer".
	Lacks []string
}

// Error lists what the TPM lacks.
func (e *CheckError) Error() string {
	return "tpm: the TPM cannot hold these keys: it lacks " + strings.Join(e.Lacks, ", ")
}

// Unwrap returns [ErrUnsuitable].
func (e *CheckError) Unwrap() error { return ErrUnsuitable }

// A need is what a TPM must have, in one of several ways.
type need struct {
	name string
	ways [][]tpm2.TPMCC // commands; the TPM has all of one way
}

var neededCommands = []need{
	{"TPM2_CreatePrimary", [][]tpm2.TPMCC{{tpm2.TPMCCCreatePrimary}}},
	{"TPM2_ReadPublic", [][]tpm2.TPMCC{{tpm2.TPMCCReadPublic}}},
	{"TPM2_StartAuthSession", [][]tpm2.TPMCC{{tpm2.TPMCCStartAuthSession}}},
	{"TPM2_Create", [][]tpm2.TPMCC{{tpm2.TPMCCCreate}}},
	{"TPM2_Load", [][]tpm2.TPMCC{{tpm2.TPMCCLoad}}},
	{"TPM2_FlushContext", [][]tpm2.TPMCC{{tpm2.TPMCCFlushContext}}},
	{"TPM2_Sign", [][]tpm2.TPMCC{{tpm2.TPMCCSign}}},
	{"TPM2_RSA_Decrypt", [][]tpm2.TPMCC{{tpm2.TPMCCRSADecrypt}}},
	{"TPM2_Unseal", [][]tpm2.TPMCC{{tpm2.TPMCCUnseal}}},
	{"TPM2_ObjectChangeAuth", [][]tpm2.TPMCC{{tpm2.TPMCCObjectChangeAuth}}},
	{"TPM2_ReadClock", [][]tpm2.TPMCC{{tpm2.TPMCCReadClock}}},
	{"TPM2_PolicyCounterTimer", [][]tpm2.TPMCC{{tpm2.TPMCCPolicyCounterTimer}}},
	{"TPM2_PolicyAuthValue", [][]tpm2.TPMCC{{tpm2.TPMCCPolicyAuthValue}}},
	{"TPM2_HMAC", [][]tpm2.TPMCC{{tpm2.TPMCCHMAC}, {tpm2.TPMCCHMACStart, tpm2.TPMCCSequenceComplete}}},
	{"TPM2_GetTime", [][]tpm2.TPMCC{{tpm2.TPMCCGetTime}, {tpm2.TPMCCPolicySecret}}},
}

func (n need) met(has map[tpm2.TPMCC]bool) bool {
	return slices.ContainsFunc(n.ways, func(way []tpm2.TPMCC) bool {
		return !slices.ContainsFunc(way, func(cc tpm2.TPMCC) bool { return !has[cc] })
	})
}

// neededKeys are the public parameters that the TPM must accept, each in one of
// several ways. RSA keys without a scheme sign with PKCS #1 v1.5 and PSS and,
// if the TPM does not accept OAEP with SHA-1, decrypt without removing the
// padding, which is removed here.
var neededKeys = []struct {
	name   string
	public tpm2.TPMTPublic
}{
	{"storage keys on P-256 with AES-128-CFB", srkTemplate},
	{"RSA keys of 2048 bits", tpm2.TPMTPublic{
		Type:       tpm2.TPMAlgRSA,
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{KeyBits: 2048}),
	}},
	{"HMAC keys with SHA-256", sessionKeyTemplate},
}

// Check asks the TPM whether it can do everything that a registered device and
// a Hello key need, so that a machine is not registered with a TPM that later
// cannot accept its session key or seal under a PIN. It does not ask for OAEP
// with SHA-1, TPM2_HMAC or TPM2_GetTime, which this package can do without. If
// the TPM lacks something the error is a [CheckError] that names it; if it does
// not answer or is busy, the error says that. Check makes nothing and sends
// four commands.
func (t *TPM) Check(ctx context.Context) error {
	lacks, err := do(ctx, t.keys, func() ([]string, error) { return lacking(t.keys) })
	if err != nil {
		return failed("checking the TPM", err)
	}
	if len(lacks) > 0 {
		return &CheckError{Lacks: lacks}
	}
	return nil
}

func lacking(sp *space) (lacks []string, err error) {
	for _, k := range neededKeys {
		ok, err := takes(sp, k.public)
		if err != nil {
			return nil, err
		}
		if !ok {
			lacks = append(lacks, k.name)
		}
	}
	has, err := implemented(sp)
	if err != nil {
		return nil, err
	}
	for _, n := range neededCommands {
		if !n.met(has) {
			lacks = append(lacks, n.name)
		}
	}
	return lacks, nil
}

// takes reports whether the TPM accepts the parameters of a key. Only a code
// about a parameter (Part 2, 6.6.2) says that it does not. If the TPM lacks
// TPM2_TestParms, this shows only when the key is made.
func takes(sp *space, public tpm2.TPMTPublic) (bool, error) {
	_, err := tpm2.TestParms{Parameters: tpm2.TPMTPublicParms{Type: public.Type, Parameters: public.Parameters}}.Execute(sp)
	switch {
	case err == nil, isNoCommand(err):
		return true, nil
	case refusesParameter(err):
		return false, nil
	}
	return false, err
}

// refusesParameter reports whether err is about a parameter of a command, and not
// about the state of the TPM.
func refusesParameter(err error) bool {
	var parameter tpm2.TPMFmt1Error
	return errors.As(err, &parameter) && !isRefusal(err) && !errors.Is(err, tpm2.TPMRCHandle)
}

// commandsAtOnce is how many commands are asked for at once; a TPM may return
// fewer and says that there are more.
const commandsAtOnce = 256

// vendorCommand is the bit of commands that are not in the specification: they
// have a numbering of their own, and come last (Part 2, 6.5 and 8.9).
const vendorCommand = 1 << 29

func implemented(sp *space) (map[tpm2.TPMCC]bool, error) {
	has := map[tpm2.TPMCC]bool{}
	for next := uint32(0); ; {
		rsp, err := tpm2.GetCapability{
			Capability:    tpm2.TPMCapCommands,
			Property:      next,
			PropertyCount: commandsAtOnce,
		}.Execute(sp)
		if err != nil {
			return nil, err
		}
		list, err := rsp.CapabilityData.Data.Command()
		if err != nil {
			return nil, err
		}
		for _, c := range list.CommandAttributes {
			cc := uint32(c.CommandIndex)
			if c.V {
				cc |= vendorCommand
			}
			has[tpm2.TPMCC(cc)] = true
			next = max(next, cc+1)
		}
		if !rsp.MoreData || len(list.CommandAttributes) == 0 {
			return has, nil
		}
	}
}
