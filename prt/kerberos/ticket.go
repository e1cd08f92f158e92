// Package kerberos opens the Kerberos tickets that come with a PRT and keeps
// them in MIT credential caches, where programs find them.
//
//	file, err := kerberos.Cache(ctx, tickets, session) // for KRB5CCNAME=FILE:…, mode 0600
//
// The service sends a ticket-granting ticket of the cloud realm, and one of the
// on-premises domain where the tenant has set that up, when [prt.PRTRequest]
// asks for them. The key of each is under the session key of the PRT.
package kerberos

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	asn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/prtbroker/prtbroker/prt"
)

// A Principal is a Kerberos principal (RFC 4120 5.2.2).
type Principal struct {
	Type  int // name type: 1 user, 2 service
	Realm string
	Names []string
}

// A Ticket is an opened TGT, ready for a credential cache (see
// [WriteCache]).
type Ticket struct {
	Client, Server Principal
	KeyType        int        // encryption type of Key
	Key            prt.Secret // the session key of the ticket
	Flags          uint32     // ticket flags, the first one in the highest bit
	AuthTime       time.Time
	StartTime      time.Time // zero: AuthTime
	EndTime        time.Time
	RenewTill      time.Time // zero: not renewable
	DER            []byte    // the ticket itself
}

// Open decrypts the ticket's key with the session of the PRT that it came with:
// one derivation. Only AES-256 (type 18) is supported.
func Open(ctx context.Context, t prt.TGT, s prt.Session) (*Ticket, error) {
	if !t.Usable() {
		return nil, badRequest("no ticket")
	}
	if t.KeyType != 0 && t.KeyType != etypeAES256 {
		return nil, badReply("the ticket's encryption type is not AES-256")
	}
	key, err := t.Key(ctx, s)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return openASRep(t.ASRep, key)
}

func badRequest(what string) error { return fmt.Errorf("kerberos: %w: %s", prt.ErrRequest, what) }

func badReply(what string) error { return fmt.Errorf("kerberos: %w: %s", prt.ErrReply, what) }

func contextTag(n uint8) asn1.Tag     { return asn1.Tag(n).ContextSpecific().Constructed() }
func applicationTag(n uint8) asn1.Tag { return asn1.Tag(0x60 | n) }

const generalString = asn1.Tag(27)

// derReader reads DER and remembers whether something did not fit.
type derReader struct {
	cryptobyte.String
	bad bool
}

// enter reads the elements of a nested type.
func (r *derReader) enter(tags ...asn1.Tag) *derReader {
	in := &derReader{String: r.String}
	for i, tag := range tags {
		out := &in.String
		from := &in.String
		if i == 0 {
			from = &r.String
		}
		var s cryptobyte.String
		if !from.ReadASN1(&s, tag) {
			r.bad, in.bad = true, true
			return in
		}
		*out = s
	}
	return in
}

// has reports whether the next element has the tag.
func (r *derReader) has(tag asn1.Tag) bool { return r.PeekASN1Tag(tag) }

func (r *derReader) int(n uint8) (v int64) {
	in := r.enter(contextTag(n))
	if !in.ReadASN1Integer(&v) {
		r.bad = true
	}
	return v
}

func (r *derReader) octets(n uint8) []byte {
	in := r.enter(contextTag(n))
	var b cryptobyte.String
	if !in.ReadASN1(&b, asn1.OCTET_STRING) {
		r.bad = true
	}
	return b
}

func (r *derReader) string(n uint8) string {
	in := r.enter(contextTag(n))
	var b cryptobyte.String
	if !in.ReadASN1(&b, generalString) {
		r.bad = true
	}
	return string(b)
}

// time reads a KerberosTime; an optional one that is absent is zero.
func (r *derReader) time(n uint8, optional bool) (t time.Time) {
	if optional && !r.has(contextTag(n)) {
		return t
	}
	in := r.enter(contextTag(n))
	if !in.ReadASN1GeneralizedTime(&t) {
		r.bad = true
	}
	return t.UTC()
}

func (r *derReader) skip(n uint8) {
	if !r.SkipOptionalASN1(contextTag(n)) {
		r.bad = true
	}
}

// maxNames bounds the components of a principal.
const maxNames = 16

func (r *derReader) name(n uint8) (p Principal) {
	in := r.enter(contextTag(n), asn1.SEQUENCE)
	p.Type = int(in.int(0))
	list := in.enter(contextTag(1), asn1.SEQUENCE)
	for !list.Empty() {
		var b cryptobyte.String
		if !list.ReadASN1(&b, generalString) || len(p.Names) == maxNames {
			r.bad = true
			return p
		}
		p.Names = append(p.Names, string(b))
	}
	if p.Type < 0 || p.Type > 1<<31-1 || len(p.Names) == 0 || in.bad {
		r.bad = true
	}
	return p
}

// openASRep reads an AS-REP (RFC 4120 5.4.2) and decrypts its encrypted part.
func openASRep(der, key []byte) (*Ticket, error) {
	top := &derReader{String: der}
	rep := top.enter(applicationTag(11), asn1.SEQUENCE)
	version, kind := rep.int(0), rep.int(1)
	rep.skip(2) // padata
	realm := rep.string(3)
	t := &Ticket{Client: rep.name(4)}
	t.Client.Realm = realm
	var wrapped, ticket cryptobyte.String
	if !rep.ReadASN1(&wrapped, contextTag(5)) || !wrapped.ReadASN1Element(&ticket, applicationTag(1)) {
		return nil, badReply("the AS-REP has no ticket")
	}
	t.DER = ticket
	sealed := rep.enter(contextTag(6), asn1.SEQUENCE)
	etype := sealed.int(0)
	sealed.skip(1) // kvno
	message := sealed.octets(2)
	if rep.bad || sealed.bad || version != 5 || kind != 11 {
		return nil, badReply("the AS-REP is malformed")
	}
	if etype != etypeAES256 {
		return nil, badReply("the AS-REP's encryption type is not AES-256")
	}
	plain, err := decryptKerberos(key, usageASRep, message)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return t, t.readPart(plain)
}

// readPart reads EncASRepPart; some services tag it EncTGSRepPart (RFC 4120
// 5.4.2 allows both).
func (t *Ticket) readPart(der []byte) error {
	top := &derReader{String: der}
	tag := applicationTag(25)
	if !top.has(tag) {
		tag = applicationTag(26)
	}
	part := top.enter(tag, asn1.SEQUENCE)
	key := part.enter(contextTag(0), asn1.SEQUENCE)
	t.KeyType = int(key.int(0))
	t.Key = prt.NewSecret(string(key.octets(1)))
	part.skip(1) // last-req
	part.skip(2) // nonce
	part.skip(3) // key-expiration
	flags := part.enter(contextTag(4))
	var bits cryptobyte.String
	if !flags.ReadASN1(&bits, asn1.BIT_STRING) || len(bits) < 5 || bits[0] != 0 {
		part.bad = true
	} else {
		t.Flags = uint32(bits[1])<<24 | uint32(bits[2])<<16 | uint32(bits[3])<<8 | uint32(bits[4])
	}
	t.AuthTime, t.StartTime = part.time(5, false), part.time(6, true)
	t.EndTime, t.RenewTill = part.time(7, false), part.time(8, true)
	realm := part.string(9)
	t.Server = part.name(10)
	t.Server.Realm = realm
	if part.bad || key.bad || t.Key.IsZero() || t.KeyType < 1 || t.KeyType > 1<<15-1 {
		return badReply("the encrypted part of the AS-REP is malformed")
	}
	return nil
}
