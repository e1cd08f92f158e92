package prt

import (
	"context"
	"encoding/base64"
	"strings"

	"github.com/prtbroker/prtbroker/internal/strictjson"
)

// A TGT is a Kerberos ticket-granting ticket that came with a PRT: an AS-REP
// and the key that opens it, encrypted under the session key. It is useless
// without the session key. Package kerberos opens it.
type TGT struct {
	Cloud     bool   // of the cloud realm; false: of the on-premises domain
	Realm     string // realm
	Client    string // cn
	Service   string // sn
	KeyType   int    // the encryption type of the client key: 18, AES-256
	ClientKey Secret // a JWE under the session key, or base64 of the key itself
	ASRep     []byte // messageBuffer: DER of the AS-REP
	Error     string // error: why there is no ticket
}

// Usable reports whether t holds a ticket.
func (t TGT) Usable() bool { return len(t.ASRep) > 0 && !t.ClientKey.IsZero() }

// parseTGTs reads tgt_ad and tgt_cloud, objects or strings that hold objects,
// and the older form with a single ticket. Tickets are optional: one that
// cannot be read is left out and does not invalidate the PRT.
func parseTGTs(o *strictjson.Object) (list []TGT) {
	for _, name := range []string{"tgt_ad", "tgt_cloud"} {
		in := object(o, name)
		if in == nil {
			continue
		}
		t := TGT{
			Cloud:     name == "tgt_cloud",
			Realm:     in.String("realm"),
			Client:    in.String("cn"),
			Service:   in.String("sn"),
			KeyType:   keyType(in, "keyType"),
			ClientKey: NewSecret(in.String("clientKey")),
			ASRep:     decodeBuffer(in.String("messageBuffer")),
			Error:     in.String("error"),
		}
		if in.Err() == nil && (t.Usable() || t.Error != "") {
			list = append(list, t)
		}
	}
	if len(list) > 0 {
		return list
	}
	t := TGT{
		KeyType:   keyType(o, "tgt_key_type"),
		ClientKey: NewSecret(optional(o, "tgt_client_key", "")),
		ASRep:     decodeBuffer(optional(o, "tgt_message_buffer", "")),
		Error:     optional(o, "tgt_error_message", ""),
	}
	if t.Usable() || t.Error != "" {
		list = append(list, t)
	}
	return list
}

// object reads a member that is an object or a string that holds one, and
// treats anything else as absent.
func object(o *strictjson.Object, name string) *strictjson.Object {
	raw := []byte(o.Raw(name))
	if len(raw) > 0 && raw[0] == '"' {
		raw = []byte(o.String(name))
	}
	in, err := strictjson.Parse(raw, MaxReplySize)
	if err != nil {
		return nil
	}
	return in
}

func keyType(o *strictjson.Object, name string) int {
	n, _ := number(o.Raw(name))
	if n < 0 || n > 255 {
		return 0
	}
	return int(n)
}

func decodeBuffer(s string) []byte {
	b, err := decodeStdOrURL(s)
	if err != nil || len(b) == 0 {
		return nil
	}
	return b
}

// clientKeySize is the size of an AES-256 Kerberos key, in bytes.
const clientKeySize = 32

// Key returns the client key, which opens the AS-REP: an AES-256 key, 32 bytes.
// It costs one derivation. The caller clears it.
func (t TGT) Key(ctx context.Context, s Session) ([]byte, error) {
	text := t.ClientKey.Reveal()
	plain := []byte(text)
	if strings.Count(text, ".") == 4 {
		j, err := parseJWE(text)
		if err != nil {
			return nil, err
		}
		if plain, err = s.open(ctx, j, func(b []byte) bool { return len(b) >= clientKeySize }); err != nil {
			return nil, err
		}
	}
	if len(plain) == clientKeySize {
		return plain, nil
	}
	key, err := base64.StdEncoding.DecodeString(string(plain))
	clear(plain)
	if err != nil || len(key) != clientKeySize {
		return nil, badReply("the client key of the ticket is not 32 bytes")
	}
	return key, nil
}
