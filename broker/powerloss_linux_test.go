//go:build amd64 || arm64

package broker_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/internal/proof/tally"
	"github.com/prtbroker/prtbroker/internal/stepper"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

const wholeLife = "a whole life"

// What the recorded process has been told is done, as marks.
const (
	begun = iota + 1
	registered
	signedIn
	provisioned
	tokenKept
	renewed
	changedPIN
	signedOut
	unregistered
)

// liveWholly does all that writes, and says after each operation that it is done.
func liveWholly(ctx context.Context, b *broker.Broker) error {
	var acct broker.Account
	for i, do := range []func() error{
		func() error { return nil },
		func() error {
			_, err := b.RegisterDevice(ctx, broker.RegisterRequest{Credential: broker.Password{Username: alice, Password: password}})
			return err
		},
		func() error {
			res, err := b.SignIn(ctx, broker.AuthCode{LoginHint: alice, MFA: true})
			acct = res.Account
			return err
		},
		func() error { return b.ProvisionHello(ctx, acct, rightPIN) },
		func() error { _, err := b.AcquireTokenSilent(ctx, open); return err },
		func() error { return b.RenewPRT(ctx, acct) },
		func() error { return b.ChangePIN(ctx, acct, rightPIN, otherPIN) },
		func() error { return b.RemoveAccount(ctx, acct) },
		func() error { return b.UnregisterDevice(ctx) },
	} {
		if err := do(); err != nil {
			return err
		}
		if err := stepper.Mark(i + 1); err != nil {
			return err
		}
	}
	return nil
}

// A disk is a file system that keeps what was synced: data by fsync of the file, names
// by fsync of the directory that they are in, as POSIX has it and no more.
type disk struct {
	files   []*diskFile
	names   map[string]int // of files and, with -1, of directories
	kept    map[string]int // those that survive
	pending []nameChange   // in order
}

type diskFile struct{ data, kept []byte }

// A nameChange is a change of a directory that is not synced yet.
type nameChange struct {
	dir   string // the directory
	apply func(names map[string]int)
}

func newDisk() *disk { return &disk{names: map[string]int{}, kept: map[string]int{}} }

func (d *disk) change(name string, apply func(names map[string]int)) {
	apply(d.names)
	d.pending = append(d.pending, nameChange{path.Dir(name), apply})
}

func (d *disk) do(op stepper.Op) error {
	switch op.Kind {
	case "create":
		if i, ok := d.names[op.Path]; ok {
			if op.Flag&unix.O_TRUNC != 0 && i >= 0 {
				d.files[i].data = nil
			}
			return nil
		}
		i := len(d.files)
		d.files = append(d.files, &diskFile{})
		d.change(op.Path, func(n map[string]int) { n[op.Path] = i })
	case "mkdir":
		if _, ok := d.names[op.Path]; !ok {
			d.change(op.Path, func(n map[string]int) { n[op.Path] = -1 })
		}
	case "write":
		i, ok := d.names[op.Path]
		if !ok || i < 0 {
			return fmt.Errorf("a write to %s, which is not there", op.Path)
		}
		d.files[i].data = append(slices.Clip(d.files[i].data), op.Data...)
	case "sync":
		if i, ok := d.names[op.Path]; ok && i >= 0 {
			d.files[i].kept = slices.Clone(d.files[i].data)
			return nil
		}
		d.pending = slices.DeleteFunc(d.pending, func(c nameChange) bool {
			if c.dir == op.Path {
				c.apply(d.kept)
			}
			return c.dir == op.Path
		})
	case "rename":
		i := d.names[op.Path]
		d.change(op.To, func(n map[string]int) {
			delete(n, op.Path)
			n[op.To] = i
		})
	case "remove":
		d.change(op.Path, func(n map[string]int) { delete(n, op.Path) })
	}
	return nil
}

// A remains is what a disk holds after a crash.
type remains struct {
	how   string
	files map[string][]byte // nil: a directory
}

// after returns what a crash at this moment may leave: everything (the process was
// killed), what was synced and nothing else, all names without the data that was not
// synced, single changes of names without those before them, and mixtures.
func (d *disk) after(r *rand.Rand) (all []remains) {
	add := func(how string, names map[string]int, content func(f *diskFile) []byte) {
		m := remains{how, map[string][]byte{}}
		for name, i := range names {
			if dir := path.Dir(name); dir != "." {
				if _, ok := names[dir]; !ok {
					continue // its directory is lost
				}
			}
			if i < 0 {
				m.files[name] = nil
				continue
			}
			m.files[name] = append([]byte{}, content(d.files[i])...)
		}
		all = append(all, m)
	}
	kept := func(f *diskFile) []byte { return f.kept }
	add("killed", d.names, func(f *diskFile) []byte { return f.data })
	add("synced alone", d.kept, kept)
	add("names without data", d.names, kept)
	add("names with half of the data", d.names, func(f *diskFile) []byte {
		return f.data[:len(f.kept)+(len(f.data)-len(f.kept))/2]
	})
	for i, c := range d.pending {
		names := maps.Clone(d.kept)
		c.apply(names)
		add(fmt.Sprintf("change %d of the names alone", i), names, kept)
	}
	mixtures := 4
	if tally.Budget() > 0 {
		mixtures = 60
	}
	for range mixtures {
		names := maps.Clone(d.kept)
		for _, i := range r.Perm(len(d.pending)) {
			if r.IntN(2) == 0 {
				d.pending[i].apply(names)
			}
		}
		add("some changes, in another order", names, func(f *diskFile) []byte {
			if r.IntN(2) == 0 {
				return f.kept
			}
			return f.data
		})
	}
	return all
}

func (m remains) hash() [32]byte {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(m.files)) {
		fmt.Fprintf(h, "%s %v %x\n", name, m.files[name] == nil, m.files[name])
	}
	return [32]byte(h.Sum(nil))
}

func (m remains) write(dir string) error {
	for _, name := range slices.Sorted(maps.Keys(m.files)) {
		full := filepath.Join(dir, name)
		if m.files[name] == nil {
			if err := os.Mkdir(full, 0o700); err != nil {
				return err
			}
			continue
		}
		if err := os.WriteFile(full, m.files[name], 0o600); err != nil {
			return err
		}
	}
	return nil
}

// The power fails at any moment: all writes and syncs of a life are recorded, and what
// a disk may hold after each of them is opened. What an operation reported as done is
// there, nothing is damaged, and no half record is taken for a whole one.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	m := newMortalMachine(t, false, false)
	m.sleepNow()
	dir := t.TempDir() // of the recorded process; its state directory is made in it
	m.job.Operation, m.job.Now, m.job.State = wholeLife, m.clock.Now(), filepath.Join(dir, "state")
	text, err := json.Marshal(m.job)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), mortalEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	var log []stepper.Op
	var broken error
	require.NoError(t, stepper.Run(cmd, func(c stepper.Call) bool {
		op, ok, err := c.Op(dir)
		if err != nil {
			broken = errors.Join(broken, err)
		}
		if ok {
			log = append(log, op)
		}
		return true
	}))
	require.NoError(t, broken)

	// The recording is whole: played to its end it makes what is there.
	whole := newDisk()
	for _, op := range log {
		require.NoError(t, whole.do(op))
	}
	r := rand.New(rand.NewPCG(1, 2))
	for name, data := range whole.after(r)[0].files {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if data == nil {
			require.DirExists(t, filepath.Join(dir, name))
			continue
		}
		require.NoError(t, err)
		require.Equal(t, data, got, name)
	}

	cells := tally.New(t, "crashes", "a state that a power loss may leave")
	keys, err := softkeys.Open(softkeys.File(m.master), softkeys.InsecureFastPINs())
	require.NoError(t, err)
	defer keys.Close()
	d, done, seen := newDisk(), 0, map[string]bool{}
	step := 1
	if testing.Short() {
		step = 7
	}
	for i, op := range log {
		require.NoError(t, d.do(op))
		if op.Kind == "mark" {
			done = op.Mark
		}
		if i%step != 0 && op.Kind != "mark" {
			continue
		}
		for _, left := range d.after(r) {
			if key := fmt.Sprintf("%x %d", left.hash(), done); seen[key] {
				continue
			} else {
				seen[key] = true
			}
			err := checkRemains(t, m, keys, left, done)
			cells.Cell(err == nil)
			if err != nil {
				t.Errorf("after %d of %d (%s %s), %s, done %d: %v", i+1, len(log), op.Kind, op.Path, left.how, done, err)
			}
		}
	}
	t.Logf("%d changes recorded, %d states opened", len(log), cells.Cells())
	require.Equal(t, unregistered, done)
}

// checkRemains opens what is left.
func checkRemains(t *testing.T, m *mortalMachine, keys *softkeys.Store, left remains, done int) error {
	t.Helper()
	dir, err := os.MkdirTemp("", "remains")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := left.write(dir); err != nil {
		return err
	}
	files, err := store.NewFile(filepath.Join(dir, "state"))
	if err != nil {
		return err
	}
	cfg := mortalConfig(keys, files, m.wire, func() time.Time { return m.job.Now })
	b, err := broker.New(t.Context(), cfg)
	if err != nil {
		return err
	}
	defer b.Close()
	s, err := b.Status(t.Context())
	if err != nil {
		return err
	}
	switch {
	case s.Problem != "":
		return errors.New(s.Problem)
	case done >= registered && done < signedOut && !s.Registered:
		return errors.New("the registration is lost")
	case done == unregistered && s.Registered:
		return errors.New("the registration is back")
	case done >= signedIn && done < changedPIN && len(s.Accounts) != 1:
		return fmt.Errorf("%d accounts", len(s.Accounts))
	case done >= signedOut && len(s.Accounts) != 0:
		return errors.New("the account is back")
	}
	if done >= signedIn && done < changedPIN {
		p, err := b.PRTStatus(t.Context(), s.Accounts[0])
		if err != nil {
			return err
		}
		if p.State == broker.PRTNone {
			return errors.New("the PRT is lost")
		}
	}
	if done >= provisioned && done < changedPIN {
		h, err := b.HelloStatus(t.Context(), s.Accounts[0])
		if err != nil {
			return err
		}
		if !h.Set {
			return errors.New("the Hello key is lost")
		}
	}
	return nil
}
