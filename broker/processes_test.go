package broker_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
)

// Two processes share one store.File and renew one PRT a thousand times: no
// renewal is lost, and no PRT is renewed twice.
func TestTwoProcessesRenew(t *testing.T) {
	t.Parallel()
	each := 500
	if testing.Short() {
		each = 50
	}
	dir := t.TempDir()
	master := filepath.Join(dir, "master")
	keys, err := softkeys.Open(softkeys.File(master), softkeys.InsecureFastPINs())
	require.NoError(t, err)
	defer keys.Close()
	st := fileStore(t, filepath.Join(dir, "state"))
	w := newWorld(t, withKeys(keys), func(w *world, _ *entratestOptions) { w.store = st })
	w.join()
	acct := w.signIn()

	job, err := json.Marshal(renewJob{
		Master: master, State: st.Dir(), Addr: w.srv.Addr(), CA: string(w.srv.CA()), Now: w.clock.Now(), Count: each,
	})
	require.NoError(t, err)
	run := func() <-chan []string {
		out := make(chan []string, 1)
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), renewerEnv+"="+string(job))
		cmd.Stderr = os.Stderr
		pipe, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		go func() {
			var lines []string
			for s := bufio.NewScanner(pipe); s.Scan(); {
				lines = append(lines, s.Text())
			}
			if err := cmd.Wait(); err != nil {
				lines = append(lines, "failed: "+err.Error())
			}
			out <- lines
		}()
		return out
	}
	one, two := run(), run()
	renewedBy := map[string]int{}
	for i, lines := range [][]string{<-one, <-two} {
		require.Len(t, lines, each, "process %d: %v", i, lines[max(0, len(lines)-3):])
		for _, l := range lines {
			require.True(t, strings.HasPrefix(l, "prt "), l)
			_, again := renewedBy[l]
			require.False(t, again, "a PRT was renewed twice")
			renewedBy[l] = i
		}
	}
	require.Len(t, renewedBy, 2*each)

	renewals := 0
	for _, s := range w.srv.SignIns() {
		if s.Grant == "prt_renewal" {
			require.Zero(t, s.ErrorCode)
			renewals++
		}
	}
	require.Equal(t, 2*each, renewals)
	// The broker that was there before takes up what they left.
	w.silent(graph)
	require.Equal(t, broker.PRTFresh, w.status(acct).State)
}

const renewerEnv = "PRTBROKER_TEST_RENEWER"

// renewJob is what the other process is told.
type renewJob struct {
	Master, State, Addr, CA string
	Now                     time.Time
	Count                   int  // of renewals
	Tokens                  bool // get a token by Config.KeepTokens instead
	Die                     death
	Stop                    bool // stop the process while a renewal is under way
}

// death is when the other process is killed.
type death string

const (
	dieAsking death = "when it asks the service"
	dieTold   death = "when the service has answered"
	dieSaving death = "when it saves the token"
)

// kill ends this process as kill -9 does.
func kill() error {
	p, err := os.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	if err := p.Kill(); err != nil {
		return err
	}
	select {} // until it arrives
}

// dying is a store whose process is killed when it saves tokens.
type dying struct{ *store.File }

func (s dying) Put(ctx context.Context, name string, data []byte, old store.Version) (store.Version, error) {
	if strings.HasSuffix(name, ".tokens") {
		return 0, kill()
	}
	return s.File.Put(ctx, name, data, old)
}

// stopSelf stops this process until it is told to go on, where that can be done.
var stopSelf = func() {}

// toEmulator is the way from another process to the emulator of the test: everything
// goes to its address and trusts its authority alone.
func toEmulator(ca, addr string, certs ...tls.Certificate) *http.Transport {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(ca))
	return &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: certs},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
	}
}

// unfollowed is a client that follows no redirect, as the broker's own.
func unfollowed(way http.RoundTripper) *http.Client {
	return &http.Client{Transport: way, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// renew is the other process: it renews and prints the hash of each PRT that it
// presented for renewal.
func renew() error {
	var job renewJob
	if err := json.Unmarshal([]byte(os.Getenv(renewerEnv)), &job); err != nil {
		return err
	}
	keys, err := softkeys.Open(softkeys.File(job.Master), softkeys.InsecureFastPINs())
	if err != nil {
		return err
	}
	defer keys.Close()
	st, err := store.NewFile(job.State)
	if err != nil {
		return err
	}
	presented := ""
	wire := &counter{inner: &http.Client{Transport: toEmulator(job.CA, job.Addr)}, hook: func(r *http.Request) error {
		if p := prtOf(r); p != "" {
			sum := sha256.Sum256([]byte(p))
			presented = hex.EncodeToString(sum[:])
			if job.Stop {
				job.Stop = false // once
				stopSelf()
			}
		}
		return nil
	}}
	var records store.Store = st
	switch job.Die {
	case dieAsking:
		wire.hook = func(*http.Request) error { return kill() }
	case dieTold:
		wire.after = func(r *http.Request) error {
			if prtOf(r) == "" {
				return nil // the nonce
			}
			return kill()
		}
	case dieSaving:
		records = dying{st}
	}
	ctx := context.Background()
	b, err := broker.New(ctx, broker.Config{
		Tenant: "contoso.example", Keys: keys, Store: records, Transport: wire,
		Now: func() time.Time { return job.Now }, App: broker.App{ClientID: appID}, KeepTokens: job.Tokens,
	})
	if err != nil {
		return err
	}
	defer b.Close()
	if job.Tokens {
		res, err := b.AcquireTokenSilent(ctx, graph)
		if err != nil {
			return err
		}
		fmt.Printf("token %x\n", sha256.Sum256([]byte(res.AccessToken)))
	}
	for range job.Count {
		if err := b.RenewPRT(ctx, broker.Account{}); err != nil {
			return err
		}
		fmt.Println("prt", presented)
	}
	return nil
}
