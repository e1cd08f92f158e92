package recorder

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/prtbroker/prtbroker/tpm"
)

// A Command is one command of a TPM. No parameter of it is kept, but for what
// TPM2_GetCapability asks and answers about the TPM's model.
type Command struct {
	Name         string            `json:"command"`
	Sessions     bool              `json:"sessions,omitempty"` // it has an authorization area
	Size         int               `json:"size"`               // in bytes
	Code         string            `json:"code,omitempty"`     // of the response, in hex; empty: 0, success
	ReplySize    int               `json:"reply_size"`
	Milliseconds int64             `json:"ms"`
	Failed       bool              `json:"failed,omitempty"` // the transport: no response came
	Capability   string            `json:"capability,omitempty"`
	Values       map[string]string `json:"values,omitempty"`
}

// TPM records the commands of the TPM that o opens.
func (r *Recorder) TPM(o tpm.Opener) tpm.Opener {
	open := o.Open
	o.Open = func(ctx context.Context) (transport.TPMCloser, error) {
		t, err := open(ctx)
		if err != nil {
			return nil, err
		}
		return recordedTPM{t, r}, nil
	}
	return o
}

type recordedTPM struct {
	transport.TPMCloser
	rec *Recorder
}

// Send implements [transport.TPM].
func (t recordedTPM) Send(command []byte) ([]byte, error) {
	begin := time.Now()
	var c Command
	describe(&c, command) // before Send, which may clear the command
	response, err := t.TPMCloser.Send(command)
	c.Milliseconds = time.Since(begin).Milliseconds()
	if err != nil {
		c.Failed = true
	} else {
		c.answer(response)
	}
	t.rec.mu.Lock()
	defer t.rec.mu.Unlock()
	t.rec.commands = append(t.rec.commands, c)
	return response, err
}

const (
	headerSize  = 10     // tag, size, code
	tagSessions = 0x8002 // TPM_ST_SESSIONS
	capability  = 0x17a  // TPM2_GetCapability
)

func describe(c *Command, b []byte) {
	c.Size = len(b)
	if len(b) < headerSize {
		c.Name = "malformed"
		return
	}
	code := binary.BigEndian.Uint32(b[6:])
	c.Name = commandName(code)
	c.Sessions = binary.BigEndian.Uint16(b) == tagSessions
	if code == capability && !c.Sessions && len(b) >= headerSize+8 {
		c.Capability = fmt.Sprintf("%d %#x", binary.BigEndian.Uint32(b[10:]), binary.BigEndian.Uint32(b[14:]))
	}
}

func (c *Command) answer(b []byte) {
	c.ReplySize = len(b)
	if len(b) < headerSize {
		c.Code = "malformed"
		return
	}
	if code := binary.BigEndian.Uint32(b[6:]); code != 0 {
		c.Code = fmt.Sprintf("%#x", code)
		return
	}
	if c.Capability != "" {
		c.Values = capabilities(b[headerSize:])
	}
}

// capabilities reads the properties of a TPM: its manufacturer, firmware, sizes and
// counters. Other answers are lists, of which the size of the response tells enough.
func capabilities(b []byte) map[string]string {
	const more, kind, count = 1, 4, 4
	if len(b) < more+kind+count || tpm2.TPMCap(binary.BigEndian.Uint32(b[more:])) != tpm2.TPMCapTPMProperties {
		return nil
	}
	n := int(min(binary.BigEndian.Uint32(b[more+kind:]), 256))
	values := map[string]string{}
	for b = b[more+kind+count:]; n > 0 && len(b) >= 8; n, b = n-1, b[8:] {
		values[fmt.Sprintf("%#x", binary.BigEndian.Uint32(b))] = fmt.Sprintf("%#x", binary.BigEndian.Uint32(b[4:]))
	}
	return values
}

var commandNames = map[tpm2.TPMCC]string{
	tpm2.TPMCCCreatePrimary:             "TPM2_CreatePrimary",
	tpm2.TPMCCEvictControl:              "TPM2_EvictControl",
	tpm2.TPMCCClear:                     "TPM2_Clear",
	tpm2.TPMCCGetCapability:             "TPM2_GetCapability",
	tpm2.TPMCCReadPublic:                "TPM2_ReadPublic",
	tpm2.TPMCCStartAuthSession:          "TPM2_StartAuthSession",
	tpm2.TPMCCCreate:                    "TPM2_Create",
	tpm2.TPMCCCreateLoaded:              "TPM2_CreateLoaded",
	tpm2.TPMCCLoad:                      "TPM2_Load",
	tpm2.TPMCCLoadExternal:              "TPM2_LoadExternal",
	tpm2.TPMCCFlushContext:              "TPM2_FlushContext",
	tpm2.TPMCCContextSave:               "TPM2_ContextSave",
	tpm2.TPMCCContextLoad:               "TPM2_ContextLoad",
	tpm2.TPMCCSign:                      "TPM2_Sign",
	tpm2.TPMCCRSADecrypt:                "TPM2_RSA_Decrypt",
	tpm2.TPMCCUnseal:                    "TPM2_Unseal",
	tpm2.TPMCCObjectChangeAuth:          "TPM2_ObjectChangeAuth",
	tpm2.TPMCCReadClock:                 "TPM2_ReadClock",
	tpm2.TPMCCGetTime:                   "TPM2_GetTime",
	tpm2.TPMCCPolicyCounterTimer:        "TPM2_PolicyCounterTimer",
	tpm2.TPMCCPolicyAuthValue:           "TPM2_PolicyAuthValue",
	tpm2.TPMCCPolicySecret:              "TPM2_PolicySecret",
	tpm2.TPMCCPolicyGetDigest:           "TPM2_PolicyGetDigest",
	tpm2.TPMCCPolicyCommandCode:         "TPM2_PolicyCommandCode",
	tpm2.TPMCCHMAC:                      "TPM2_HMAC",
	tpm2.TPMCCHMACStart:                 "TPM2_HMAC_Start",
	tpm2.TPMCCSequenceComplete:          "TPM2_SequenceComplete",
	tpm2.TPMCCCertify:                   "TPM2_Certify",
	tpm2.TPMCCCertifyCreation:           "TPM2_CertifyCreation",
	tpm2.TPMCCTestParms:                 "TPM2_TestParms",
	tpm2.TPMCCGetRandom:                 "TPM2_GetRandom",
	tpm2.TPMCCStartup:                   "TPM2_Startup",
	tpm2.TPMCCShutdown:                  "TPM2_Shutdown",
	tpm2.TPMCCNVReadPublic:              "TPM2_NV_ReadPublic",
	tpm2.TPMCCNVRead:                    "TPM2_NV_Read",
	tpm2.TPMCCDictionaryAttackLockReset: "TPM2_DictionaryAttackLockReset",
}

func commandName(code uint32) string {
	if name, ok := commandNames[tpm2.TPMCC(code)]; ok {
		return name
	}
	return fmt.Sprintf("%#x", code)
}
