package tpm

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/go-tpm/tpm2"
)

// A Limit bounds how long a PIN opens what [PINSealer.SealPIN] sealed. The TPM
// counts from the time of sealing and enforces the limit itself: neither the
// machine's clock nor restored old state can extend it.
//
// The TPM refuses when a policy session is prepared, not when that session is
// used (TPM2_PolicyCounterTimer: Part 3, 23.10). An attacker who has the
// machine while the limit lasts can prepare a session without the PIN, keep it,
// even across sleep, and try PINs with it until the next TPM reset, though
// wrong PINs still count. Only Resets guards against that.
//
// The TPM's clock (Part 1, 36) runs only while it has power. Time without power
// goes unnoticed, and a power loss without a shutdown may set the clock back by
// up to 2²² ms, about 70 minutes. So Time bounds the time of use to within 70
// minutes for each of Resets; with Resets negative it does not bound an
// attacker who cuts the power often enough. Resets and Restarts bound how many
// such gaps there may be, but not how long each is.
type Limit struct {
	// Time by the TPM's clock, in whole milliseconds, rounded up. Zero: no
	// bound.
	Time time.Duration
	// Resets is how many TPM resets (boots and power losses) it outlasts. Zero:
	// none, so the PIN opens until the next reset. Negative: no bound, and Time
	// then restrains honest users only.
	Resets int
	// Restarts is how often the machine may sleep or hibernate, as far as the
	// system tells the TPM (TPM2_Shutdown with TPM_SU_STATE), beyond the TPM's
	// count at the time of sealing; a reset sets that count to zero. Zero: not
	// once. Negative: no bound.
	Restarts int
}

func (l Limit) check() error {
	if l.Time < 0 {
		return errors.New("negative time")
	}
	return nil
}

// bounds are a Limit in the counts of one TPM. All ones means no bound.
type bounds struct {
	clock    uint64 // ms, the first at which it does not open
	resets   uint32 // the last resetCount at which it opens
	restarts uint32 // the last restartCount
}

const boundsSize = 8 + 4 + 4

// from returns the bounds of what is sealed at now.
func (l Limit) from(now tpm2.TPMSClockInfo) bounds {
	b := unbounded
	if l.Time > 0 {
		// A duration has fewer milliseconds than any TPM's clock has left.
		b.clock = now.Clock + uint64((l.Time-1)/time.Millisecond) + 1
	}
	if l.Resets >= 0 {
		b.resets = add(now.ResetCount, l.Resets)
	}
	if l.Restarts >= 0 {
		b.restarts = add(now.RestartCount, l.Restarts)
	}
	return b
}

func add(count uint32, n int) uint32 {
	return uint32(min(uint64(count)+uint64(n), math.MaxUint32))
}

var unbounded = bounds{math.MaxUint64, math.MaxUint32, math.MaxUint32}

func (b bounds) marshal() []byte {
	out := binary.BigEndian.AppendUint64(nil, b.clock)
	out = binary.BigEndian.AppendUint32(out, b.resets)
	return binary.BigEndian.AppendUint32(out, b.restarts)
}

func unmarshalBounds(data []byte) (bounds, error) {
	if len(data) != boundsSize {
		return bounds{}, fmt.Errorf("%w: limits", ErrInvalidBlob)
	}
	r := &reader{b: data}
	clock := uint64(r.uint32())<<32 | uint64(r.uint32())
	return bounds{clock, r.uint32(), r.uint32()}, nil
}

// left returns what is left of the bounds.
func (b bounds) left(now tpm2.TPMSClockInfo) (Limit, error) {
	l := Limit{Resets: -1, Restarts: -1}
	switch {
	case now.Clock >= b.clock:
		return Limit{}, fmt.Errorf("%w, according to the TPM's clock", ErrExpired)
	case now.ResetCount > b.resets:
		return Limit{}, fmt.Errorf("%w: the TPM was reset too often", ErrExpired)
	case now.RestartCount > b.restarts:
		return Limit{}, fmt.Errorf("%w: the TPM was restarted too often", ErrExpired)
	}
	if b.clock != math.MaxUint64 {
		const most = uint64(math.MaxInt64 / time.Millisecond)
		l.Time = time.Duration(min(b.clock-now.Clock, most)) * time.Millisecond
	}
	if b.resets != math.MaxUint32 {
		l.Resets = int(b.resets - now.ResetCount)
	}
	if b.restarts != math.MaxUint32 {
		l.Restarts = int(b.restarts - now.RestartCount)
	}
	return l, nil
}

// Offsets in a TPMS_TIME_INFO (Part 2, 10.11.6), which has 25 bytes.
const (
	timeInfoSize  = 25
	clockOffset   = 8
	resetOffset   = 16
	restartOffset = 20
)

// A comparison is what TPM2_PolicyCounterTimer demands of the TPM's
// TPMS_TIME_INFO (Part 3, 23.10).
type comparison struct {
	operand   []byte
	offset    uint16
	operation tpm2.TPMEO
}

func (c comparison) tail() []byte {
	b := binary.BigEndian.AppendUint16(nil, c.offset)
	return binary.BigEndian.AppendUint16(b, uint16(c.operation))
}

func (b bounds) comparisons() (c []comparison) {
	if b.clock != math.MaxUint64 {
		c = append(c, comparison{binary.BigEndian.AppendUint64(nil, b.clock), clockOffset, tpm2.TPMEOUnsignedLT})
	}
	if b.resets != math.MaxUint32 {
		c = append(c, comparison{binary.BigEndian.AppendUint32(nil, b.resets), resetOffset, tpm2.TPMEOUnsignedLE})
	}
	if b.restarts != math.MaxUint32 {
		c = append(c, comparison{binary.BigEndian.AppendUint32(nil, b.restarts), restartOffset, tpm2.TPMEOUnsignedLE})
	}
	return c
}

// commitment demands that the TPM's time differ from this hash, which it always
// does. That changes the digest of a policy and so binds to an object, at the
// cost of one command, fields that the TPM has no place for: 25 bytes of a
// SHA-256.
func commitment(hash [sha256.Size]byte) comparison {
	return comparison{hash[:timeInfoSize], 0, tpm2.TPMEONeq}
}

// policyDigest computes the policy of an object that opens when all
// comparisons hold and its auth value is proved (Part 1, 19.7).
func policyDigest(comparisons []comparison) []byte {
	digest := make([]byte, sha256.Size)
	extend := func(code tpm2.TPMCC, args []byte) {
		h := sha256.New()
		h.Write(digest)
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(code)))
		h.Write(args)
		digest = h.Sum(digest[:0])
	}
	for _, c := range comparisons {
		args := sha256.Sum256(append(append([]byte(nil), c.operand...), c.tail()...))
		extend(tpm2.TPMCCPolicyCounterTimer, args[:])
	}
	extend(tpm2.TPMCCPolicyAuthValue, nil)
	return digest
}

// demand makes the policy session p demand c. If the space has a session, the
// command runs in it, so that the TPM authenticates a success; but in a trial
// session every demand succeeds: see notTrial. TPM_RC_POLICY says that c does
// not hold.
func (sp *space) demand(p *session, c comparison) error {
	cmd := command{
		code:    tpm2.TPMCCPolicyCounterTimer,
		handles: []object{permanent(p.handle)},
		params:  append(append2B(nil, c.operand), c.tail()...),
	}
	if sp.session != nil {
		cmd.auths = []auth{{session: sp.session, dir: encryptIn}}
	}
	_, err := cmd.run(sp)
	return err
}

// clock reads the clock. TPM2_ReadClock takes no session, so an attacker who
// can alter the bus can alter the answer.
func (sp *space) clock() (tpm2.TPMSClockInfo, error) {
	rsp, err := tpm2.ReadClock{}.Execute(sp)
	if err != nil {
		return tpm2.TPMSClockInfo{}, err
	}
	return rsp.CurrentTime.ClockInfo, nil
}

// provenClock returns the TPM's clock, authenticated by the TPM. It needs the
// loaded parent.
func (t *TPM) provenClock(sp *space, parent object) (tpm2.TPMSClockInfo, error) {
	if !t.noGetTime.Load() {
		now, err := sp.getTime()
		switch {
		case err == nil, !isCode(err), isFull(err), isStale(err), isForeign(err) && !sp.fresh:
			return now, err
		case isNoCommand(err), isRefusal(err):
			t.noGetTime.Store(true)
		}
	}
	return sp.confirmedClock(parent)
}

// getTime is TPM2_GetTime (Part 3, 18.7) without a signature: the HMAC of the
// space's session, which covers the answer, authenticates it. That session
// authorises the endorsement hierarchy, whose auth value is usually empty; not
// every TPM has the command.
func (sp *space) getTime() (now tpm2.TPMSClockInfo, err error) {
	cmd := command{
		code:    tpm2.TPMCCGetTime,
		handles: []object{permanent(tpm2.TPMRHEndorsement), permanent(tpm2.TPMRHNull)},
		auths:   []auth{{session: sp.session}, {}},
		params:  append(append2B(nil, nil), byte(tpm2.TPMAlgNull>>8), byte(tpm2.TPMAlgNull)), // nothing to add, no scheme
	}
	rsp, err := cmd.run(sp)
	if err != nil {
		return now, err
	}
	return attestedClock(first(rsp.params))
}

// attestedClock takes the clock from a TPMS_ATTEST (Part 2, 10.12.12) of a
// time. It does not use the clock in the header, where a TPM may hide the
// counts from callers that have no right to know them.
func attestedClock(attest []byte) (now tpm2.TPMSClockInfo, err error) {
	r := &reader{b: attest}
	magic, kind := tpm2.TPMGenerated(r.uint32()), tpm2.TPMST(r.uint16())
	r.sized() // qualified signer
	r.sized() // extra data
	r.bytes(clockInfoSize)
	r.bytes(8) // firmware version
	r.bytes(8) // time since the TPM was powered
	now.Clock = uint64(r.uint32())<<32 | uint64(r.uint32())
	now.ResetCount, now.RestartCount = r.uint32(), r.uint32()
	r.byte()   // whether the clock is safe
	r.bytes(8) // firmware version
	if r.failed || len(r.b) > 0 || magic != tpm2.TPMGeneratedValue || kind != tpm2.TPMSTAttestTime {
		return tpm2.TPMSClockInfo{}, fmt.Errorf("%w: not an attestation of the time", errShort)
	}
	return now, nil
}

// clockInfoSize is the size of a TPMS_CLOCK_INFO (Part 2, 10.11.1).
const clockInfoSize = 8 + 4 + 4 + 1

// confirmedClock reads the clock and has the TPM confirm it, for a TPM that
// does not return it in a session. The clock may have advanced since; the
// counts may not have changed. It needs the loaded parent.
func (sp *space) confirmedClock(parent object) (tpm2.TPMSClockInfo, error) {
	var none tpm2.TPMSClockInfo
	now, err := sp.clock()
	if err != nil {
		return none, err
	}
	p, err := startSession(sp, tpm2.TPMSEPolicy, 0, nil)
	if err != nil {
		return none, err
	}
	sp.loaded = append(sp.loaded, p.handle)
	defer sp.flush(p.handle)
	counts := binary.BigEndian.AppendUint32(nil, now.ResetCount)
	counts = binary.BigEndian.AppendUint32(counts, now.RestartCount)
	for _, c := range []comparison{
		{binary.BigEndian.AppendUint64(nil, now.Clock), clockOffset, tpm2.TPMEOUnsignedGE},
		{counts, resetOffset, tpm2.TPMEOEq},
	} {
		err := sp.demand(p, c)
		if errors.Is(err, tpm2.TPMRCPolicy) {
			return none, fmt.Errorf("%w: the clock that was read is not the one of the TPM", errForged)
		}
		if err != nil {
			return none, err
		}
	}
	if err := sp.notTrial(parent, p); err != nil {
		return none, err
	}
	return now, nil
}

// ticketExpiry makes TPM2_PolicySecret give a ticket, which it does for a
// negative expiration: -600 s. The ticket is not used.
const ticketExpiry = math.MaxUint32 - 600 + 1

// notTrial has the TPM confirm what kind of session p is. Nothing authenticates
// the start of a session: an attacker who alters the bus can make it a trial
// session, in which every demand holds (Part 3, 23.10). A trial session gets no
// ticket from TPM2_PolicySecret (Part 3, 23.4), whose nonce says that the
// session is the one that was started. The check comes after the demands: the
// session that has the handle and the nonce now had them during the demands.
func (sp *space) notTrial(parent object, p *session) error {
	if len(p.nonceTPM) != nonceSize {
		return fmt.Errorf("%w: its policy session has no nonce", errForged) // an empty one is not compared
	}
	params := append2B(append2B(append2B(nil, p.nonceTPM), nil), nil) // no cpHash, no reference
	cmd := command{
		code:    tpm2.TPMCCPolicySecret,
		handles: []object{parent, permanent(p.handle)},
		auths:   []auth{{session: sp.session, dir: encryptIn}},
		params:  binary.BigEndian.AppendUint32(params, ticketExpiry),
	}
	rsp, err := cmd.run(sp)
	if errors.Is(err, tpm2.TPMRCNonce) {
		return fmt.Errorf("%w: its policy session is another one", errForged)
	}
	if err != nil {
		return err
	}
	r := &reader{b: rsp.params}
	r.sized()  // timeout
	r.uint16() // the ticket: tag
	r.uint32() // hierarchy
	if digest := r.sized(); r.failed || len(digest) == 0 {
		return fmt.Errorf("%w: its policy session is a trial session", errForged)
	}
	return nil
}
