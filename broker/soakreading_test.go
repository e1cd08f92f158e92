package broker_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A reading is what a process and its state take up at a moment.
type reading struct {
	heap        int // bytes that the garbage collector keeps
	goroutines  int
	descriptors int // 0 where /proc does not tell
	bytes       int // of the state, without the sign-in logs
	files       int // of the state, without them
	logs        int // sign-in logs, of which an account has one at most
	log         int // bytes of the longest
	service     int // bytes of the state of the emulator, whose memory is in the heap
}

// read takes a reading of this process and of the state in dir. Connections are idle
// and closed by then: what is on its way out is waited for.
func read(t testing.TB, dir string) reading {
	t.Helper()
	for range 3 { // twice empties the pools, which the second time only ages
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	r := reading{heap: int(m.HeapAlloc)}
	r.goroutines, r.descriptors = runtime.NumGoroutine(), descriptors()
	for steady := 0; steady < 5; steady++ {
		pause(time.Millisecond)
		if g, d := runtime.NumGoroutine(), descriptors(); g < r.goroutines || d < r.descriptors {
			r.goroutines, r.descriptors, steady = g, d, 0
		}
	}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if strings.Contains(d.Name(), ".log.") { // grows up to a limit of its own
			r.logs++
			r.log = max(r.log, int(info.Size()))
			return nil
		}
		r.files++
		r.bytes += int(info.Size())
		return nil
	}))
	return r
}

func descriptors() int {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(open)
}

// most is the greatest of each value.
func most(all []reading) (r reading) {
	for _, o := range all {
		r = reading{
			max(r.heap, o.heap), max(r.goroutines, o.goroutines), max(r.descriptors, o.descriptors),
			max(r.bytes, o.bytes), max(r.files, o.files), max(r.logs, o.logs), max(r.log, o.log), max(r.service, o.service),
		}
	}
	return r
}

// longestLog is more than the record of 256 decisions takes.
const longestLog = 256 << 10

// margins are by how much the second half of a life may be above its first half. They
// allow for the PRTs, tokens and decisions not yet written that accounts happen to have;
// so many accounts are in use.
func margins(first reading, accounts int) reading {
	return reading{
		heap:        128<<10 + accounts<<10,
		goroutines:  3,
		descriptors: 3,
		bytes:       first.bytes/5 + 4<<10,
		files:       first.files/20 + 4,
	}
}

// grown compares the halves of a life, and says what has grown.
func grown(first, second []reading, accounts int) (all []string) {
	a, b := most(first), most(second)
	margin := margins(a, accounts)
	for _, v := range []struct {
		what                  string
		before, after, margin int
	}{
		{"bytes of heap", a.heap, b.heap, margin.heap},
		{"goroutines", a.goroutines, b.goroutines, margin.goroutines},
		{"open descriptors", a.descriptors, b.descriptors, margin.descriptors},
		{"bytes of state", a.bytes, b.bytes, margin.bytes},
		{"files of state", a.files, b.files, margin.files},
	} {
		if v.after > v.before+v.margin {
			all = append(all, fmt.Sprintf("%s: %d in the first half, %d in the second, margin %d", v.what, v.before, v.after, v.margin))
		}
	}
	return all
}
