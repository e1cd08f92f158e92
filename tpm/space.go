package tpm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// A space is one connection to the TPM and what is loaded through it. Its queue
// admits one operation, of several commands, at a time: with a lock per command
// the rolling nonces of the shared session and the three object slots would get
// mixed up.
type space struct {
	open      func(context.Context) (transport.TPMCloser, error)
	exclusive bool
	idleAfter time.Duration
	holds     int             // how many session keys stay loaded
	spares    int             // how many of them stay when something else is loaded or made
	done      <-chan struct{} // closed with the store
	cut       chan struct{}   // closed when the store gives up on the operation under way
	sibling   *space          // the store's other space; nil if it has only one

	// queue holds one token; its holder owns every field below.
	queue   chan struct{}
	conn    transport.TPMCloser
	broken  bool // conn failed in the middle of a command
	ctx     context.Context
	session *session
	fresh   bool      // session was started by the running operation
	held    []heldKey // the one used last at the end
	primary heldPrimary
	loaded  []tpm2.TPMHandle // to be flushed when the operation ends
	idle    *time.Timer
	sent    int // commands since the sibling was relieved

	mu   sync.Mutex // guards live; never held over a command
	live io.Closer  // conn, for Close to cut off an operation that hangs
}

// A heldKey is a session key that stays loaded between operations.
type heldKey struct {
	owner *sessionKey
	object
}

// A heldPrimary is the transient primary that stays loaded between operations.
type heldPrimary struct {
	key    *storageKey // nil: none
	handle tpm2.TPMHandle
}

// holdPrimary keeps the loaded primary beyond the end of the operation.
func (sp *space) holdPrimary(h tpm2.TPMHandle, k *storageKey) {
	sp.gone(h)
	sp.primary = heldPrimary{k, h}
}

func (sp *space) dropPrimary() {
	if sp.primary.key != nil {
		sp.flush(sp.primary.handle)
		sp.primary = heldPrimary{}
	}
}

// drop flushes what is held.
func (sp *space) drop() {
	sp.dropHeld(0)
	sp.dropPrimary()
	sp.dropSession()
}

func newSpace(o Opener, idle time.Duration, done <-chan struct{}) *space {
	sp := &space{open: o.Open, exclusive: o.Exclusive, idleAfter: idle, done: done, cut: make(chan struct{}), queue: make(chan struct{}, 1)}
	sp.queue <- struct{}{}
	sp.idle = time.AfterFunc(time.Hour, sp.release)
	sp.idle.Stop()
	return sp
}

// do runs an operation on sp once it is its turn. It returns when ctx ends,
// even if the TPM does not: the operation then stops after the command under
// way, which cannot be recalled, and frees the queue. It takes ownership of
// secrets, which the operation uses, and clears them when that is over.
func do[T any](ctx context.Context, sp *space, op func() (T, error), secrets ...[]byte) (T, error) {
	type result struct {
		v   T
		err error
	}
	var none T
	if err := sp.turn(ctx); err != nil {
		wipe(secrets)
		return none, err
	}
	ch := make(chan result, 1)
	go func() {
		defer func() { sp.queue <- struct{}{} }()
		v, err := attempt(ctx, sp, op)
		wipe(secrets)
		ch <- result{v, translate(err)}
		sp.relieve()
	}()
	select {
	case r := <-ch:
		return r.v, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	case <-sp.done:
		// Close lets an operation under way finish, for a while.
		select {
		case r := <-ch:
			return r.v, r.err
		case <-ctx.Done():
			return none, ctx.Err()
		case <-sp.cut:
			return none, ErrClosed
		}
	}
}

// turn takes the queue's token.
func (sp *space) turn(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-sp.done:
		return ErrClosed
	default:
	}
	select {
	case <-sp.queue:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-sp.done:
		return ErrClosed
	}
}

func wipe(secrets [][]byte) {
	for _, s := range secrets {
		clear(s)
	}
}

// attempt runs op, and retries it once if the TPM was reset or the connection
// lost and once if the slots were full: a lost connection may leave the slots
// full.
func attempt[T any](ctx context.Context, sp *space, op func() (T, error)) (T, error) {
	var none T
	defer sp.startIdle()
	sp.ctx = ctx
	for reopened, freed, moved := false, false, false; ; {
		v, err := once(sp, op)
		switch {
		case err == nil:
			return v, nil
		case ctx.Err() != nil:
			return none, ctx.Err()
		case sp.cutOff():
			return none, ErrClosed
		case !reopened && (isStale(err) || !sp.fresh && isForeign(err)):
			reopened = true
			sp.sibling.release()
			sp.forget()
		case !freed && isFull(err):
			freed = true
			sp.sibling.release()
			sp.makeRoom()
		default:
			verdict := sp.judge(err)
			if errors.Is(verdict, errParentMoved) && !moved {
				moved = true
				continue
			}
			return none, verdict
		}
	}
}

func once[T any](sp *space, op func() (T, error)) (T, error) {
	var none T
	if sp.broken {
		sp.forget()
	}
	if sp.conn == nil {
		conn, err := sp.open(sp.ctx)
		if err != nil {
			return none, noTPM(err)
		}
		sp.conn = conn
		sp.setLive(conn)
	}
	sp.fresh = sp.session == nil
	v, err := op()
	for len(sp.loaded) > 0 {
		sp.flush(sp.loaded[len(sp.loaded)-1])
	}
	return v, err
}

// Send implements transport.TPM for the running operation. A TPM that asks to
// be tried again is sent the same bytes: nothing was executed, so the session's
// nonces have not moved.
func (sp *space) Send(cmd []byte) ([]byte, error) { return sp.send(sp.ctx, cmd) }

const (
	firstWait = time.Millisecond
	maxWait   = 250 * time.Millisecond
	giveUp    = 2 * time.Minute
)

func (sp *space) send(ctx context.Context, cmd []byte) ([]byte, error) {
	var waited time.Duration
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if sp.broken || sp.conn == nil {
			return nil, &connError{errors.New("connection lost")}
		}
		// The simulator decrypts parameters in the buffer it is given.
		sp.sent++
		rsp, err := sp.conn.Send(slices.Clone(cmd))
		if err != nil {
			sp.broken = true
			return nil, &connError{err}
		}
		rc, ok := responseCode(rsp)
		if !ok {
			sp.broken = true
			return nil, &connError{fmt.Errorf("response of %d bytes without a header", len(rsp))}
		}
		if !tryAgain(rc) {
			return rsp, nil
		}
		if waited >= giveUp {
			return nil, fmt.Errorf("%w: it has been asking for a retry for %v", ErrBusy, giveUp)
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
			waited += wait
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		case <-sp.done:
			t.Stop()
			return nil, ErrClosed
		}
	}
}

// responseCode returns the code in a response, and writes it back as a TPM
// would: a resource manager answers with the same codes, but marks them as its
// own in the upper half (Linux's tpm2-space.c: 11 << 16).
func responseCode(rsp []byte) (tpm2.TPMRC, bool) {
	if len(rsp) < 10 || int(binary.BigEndian.Uint32(rsp[2:])) != len(rsp) {
		return 0, false
	}
	rsp[6], rsp[7] = 0, 0
	return tpm2.TPMRC(binary.BigEndian.Uint32(rsp[6:])), true
}

// tryAgain reports whether a code is one of the warnings of Part 2, 6.6.3,
// after which the same command may be sent again. TPM_RC_NV_RATE protects the
// memory that the clock is kept in, so TPM2_PolicyCounterTimer may return it
// too.
func tryAgain(rc tpm2.TPMRC) bool {
	switch rc {
	case tpm2.TPMRCRetry, tpm2.TPMRCYielded, tpm2.TPMRCTesting, tpm2.TPMRCNVRate:
		return true
	}
	return false
}

// unloading sends even when the operation's context has ended, so that nothing
// stays behind in the TPM.
type unloading struct{ *space }

func (u unloading) Send(cmd []byte) ([]byte, error) { return u.send(context.Background(), cmd) }

func (sp *space) flush(h tpm2.TPMHandle) {
	sp.gone(h)
	// An object that is gone already, or whose connection is, is as good as flushed.
	_, _ = tpm2.FlushContext{FlushHandle: h}.Execute(unloading{sp})
}

// dropHeld flushes the session keys that were not used lately, until at most
// left are loaded.
func (sp *space) dropHeld(left int) {
	for len(sp.held) > left {
		owner := sp.held[0].owner
		sp.dropKey(owner)
		owner.unseat(sp)
	}
}

// dropKey flushes s if it is loaded.
func (sp *space) dropKey(s *sessionKey) {
	if i := sp.heldIndex(s); i >= 0 {
		h := sp.held[i]
		sp.held = slices.Delete(sp.held, i, i+1)
		sp.flush(h.handle)
	}
}

// heldIndex returns where s is in sp.held; -1 when it is not.
func (sp *space) heldIndex(s *sessionKey) int {
	return slices.IndexFunc(sp.held, func(h heldKey) bool { return h.owner == s })
}

func (sp *space) dropSession() {
	if sp.session != nil {
		sp.flush(sp.session.handle)
		sp.session = nil
	}
}

// forget drops everything, including the connection.
func (sp *space) forget() {
	sp.drop()
	for len(sp.loaded) > 0 {
		sp.flush(sp.loaded[0])
	}
	if sp.conn != nil {
		_ = sp.conn.Close()
	}
	sp.conn, sp.broken = nil, false
	sp.setLive(nil)
}

func (sp *space) cutOff() bool {
	select {
	case <-sp.cut:
		return true
	default:
		return false
	}
}

func (sp *space) setLive(c io.Closer) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	sp.live = c
}

// makeRoom flushes this store's objects and, on an exclusive connection, also
// what a dead process left behind.
func (sp *space) makeRoom() {
	sp.drop()
	if !sp.exclusive {
		return
	}
	for _, first := range []tpm2.TPMHandle{transientFirst, hmacSessionFirst} {
		rsp, err := tpm2.GetCapability{
			Capability:    tpm2.TPMCapHandles,
			Property:      uint32(first),
			PropertyCount: 16,
		}.Execute(unloading{sp})
		if err != nil {
			continue
		}
		handles, err := rsp.CapabilityData.Data.Handles()
		if err != nil {
			continue
		}
		for _, h := range handles.Handle {
			sp.flush(h)
		}
	}
}

const (
	transientFirst   tpm2.TPMHandle = 0x80000000
	hmacSessionFirst tpm2.TPMHandle = 0x02000000
)

// startIdle arranges for release to run after a while without use: slots are
// scarce where no resource manager swaps them.
func (sp *space) startIdle() {
	if sp.idleAfter < 0 || sp.holdsNothing() { // a timer would only wake the processor
		return
	}
	sp.idle.Reset(sp.idleAfter)
}

func (sp *space) holdsNothing() bool {
	return len(sp.held) == 0 && sp.primary.key == nil && sp.session == nil
}

// release lets go of what is held, unless the space is in use.
func (sp *space) release() {
	if sp == nil {
		return
	}
	select {
	case <-sp.queue:
		sp.drop()
		sp.queue <- struct{}{}
	default:
	}
}

// gapLimit is how many commands one space sends before the session of the other
// is given up. A resource manager saves a space's session after each command; a
// TPM numbers these contexts and refuses to continue (TPM_RC_CONTEXT_GAP) when
// the oldest is 255 behind, and Linux then fails with EFAULT.
const gapLimit = 100

func (sp *space) relieve() {
	if sp.sibling != nil && sp.sent >= gapLimit {
		sp.sent = 0
		sp.sibling.release()
	}
}

// shut closes the connection: at once if the queue is free, otherwise after
// grace, which makes the operation under way fail.
func (sp *space) shut(grace time.Duration) error {
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-sp.queue: // and never put back
	case <-t.C:
		close(sp.cut)
		sp.mu.Lock()
		defer sp.mu.Unlock()
		if sp.live != nil {
			_ = sp.live.Close()
		}
		return fmt.Errorf("%w: the TPM did not answer within %v of closing", ErrBusy, grace)
	}
	sp.idle.Stop()
	sp.drop()
	var err error
	if sp.conn != nil {
		err = sp.conn.Close()
	}
	sp.conn = nil
	return err
}

// gone notes that h need not be flushed when the operation ends.
func (sp *space) gone(h tpm2.TPMHandle) {
	sp.loaded = slices.DeleteFunc(sp.loaded, func(l tpm2.TPMHandle) bool { return l == h })
}
