package house

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	shBlock    = regexp.MustCompile("(?s)```sh\n(.*?)```")
	plainBlock = regexp.MustCompile("(?s)```\n(.*?)```")
	size       = regexp.MustCompile(`[0-9]+ bytes`)
)

// Somebody who has nothing but the README gets a token: its commands and its
// program, copied into an empty directory, run and print what it says.
func TestReadmeRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program in a module of its own")
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	readme := string(text)
	program := goBlock.FindStringSubmatch(readme)[1]
	require.True(t, strings.HasPrefix(program, "package main"), "the first Go of the README is not a program")
	commands := shBlock.FindAllStringSubmatch(readme, -1)
	require.Len(t, commands, 2)
	_, after, _ := strings.Cut(readme, "It prints:")
	want := plainBlock.FindStringSubmatch(after)[1]

	home := t.TempDir()
	require.NoError(t, os.Symlink(root, filepath.Join(home, "prtbroker")))
	setUp := regexp.MustCompile(`(?m)^git clone .*$`).ReplaceAllString(commands[0][1], "true")
	script := "set -e\n" + setUp + "\ncp ../main.go .\n" + commands[1][1]
	require.NoError(t, os.WriteFile(filepath.Join(home, "main.go"), []byte(program), 0o600))
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Dir = home
	// What is compiled then does not depend on the directory, and is cached.
	cmd.Env = append(os.Environ(), "HOME="+home, "GOFLAGS=-trimpath", "GOCACHE="+goEnv(t, "GOCACHE"), "GOMODCACHE="+goEnv(t, "GOMODCACHE"), "GOPATH="+goEnv(t, "GOPATH"))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoErrorf(t, err, "%s", &stderr)
	require.Equal(t, size.ReplaceAllString(want, "n bytes"), size.ReplaceAllString(string(out), "n bytes"))
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

// What README's pieces of a program name tpm and broker is this: the packages
// themselves, but for the machine's TPM and the network, which are emulated.
const (
	stageTPM = `package tpm

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/softkeys"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

type Config = tpm.Config

func Default() tpm.Opener { return tpm.Opener{} }

func Open(ctx context.Context, _ tpm.Opener, cfg Config) (tpm.KeyStore, error) {
	dir, err := os.MkdirTemp("", "readme")
	if err != nil {
		return nil, err
	}
	sw, err := tpmtest.StartSwtpm(ctx, dir)
	if errors.Is(err, tpmtest.ErrNoSwtpm) {
		return softkeys.Open(softkeys.File(filepath.Join(dir, "master.key")))
	}
	if err != nil {
		return nil, err
	}
	return tpm.Open(ctx, sw.Opener(), cfg)
}
`
	stageBroker = `package broker

import (
	"context"

	"github.com/prtbroker/prtbroker/broker"
	"github.com/prtbroker/prtbroker/broker/entratest"
)

type (
	App           = broker.App
	AuthCode      = broker.AuthCode
	Config        = broker.Config
	EnrollRequest = broker.EnrollRequest
	PIN           = broker.PIN
)

var (
	ErrInteractionRequired = broker.ErrInteractionRequired
	ErrPINLocked           = broker.ErrPINLocked
	ErrWrongPIN            = broker.ErrWrongPIN
)

const ClientID = "7d1f3c52-0b6e-4b57-9a53-2f6f0e1c9a11"

var Entra = entratest.NewServer(entratest.Options{
	Users:          []entratest.User{{Username: "alice", Password: "correct horse", TOTPSecret: "JBSWY3DPEHPK3PXP"}},
	Apps:           []entratest.App{{ClientID: ClientID, Public: true, Redirects: []string{broker.NativeClientRedirect}, AdminConsent: true}},
	ReplicationLag: -1,
})

func New(ctx context.Context, cfg Config) (*broker.Broker, error) {
	cfg.Transport, cfg.InsecureSoftwareHello = Entra.Client(), true
	return broker.New(ctx, cfg)
}

type UI struct{ broker.Prompter }

func (UI) Authorize(ctx context.Context, page, redirect string) (string, error) {
	alice := entratest.Person{Username: "alice@contoso.example", Password: "correct horse", TOTPSecret: "JBSWY3DPEHPK3PXP"}
	return alice.Authorize(ctx, Entra.Client(), page, redirect)
}
`
	stageMain = `package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/prtbroker/prtbroker/broker/store"

	"example.com/stage/broker"
	"example.com/stage/tpm"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func main() {
	ctx, dir, clientID, ui := context.Background(), os.Args[1], broker.ClientID, broker.UI{}
%s
	fmt.Println("token from", token.Metadata.Source, err)
	account, pin := token.Account, broker.PIN("27182845")
%s
	fmt.Println("unlocked, MFA", u.MFA.MFA, err)
}
`
)

// The pieces of a program run as well: joined as one program, on an emulated TPM
// against the emulated Entra.
func TestReadmePiecesRun(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program in a module of its own")
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	var pieces []any
	for _, b := range goBlock.FindAllStringSubmatch(string(text), -1) {
		if strings.HasPrefix(b[1], "package main") || strings.HasPrefix(b[1], "func Test") {
			continue // TestReadmeRuns, and a test that is one of entratest
		}
		pieces = append(pieces, b[1])
	}
	require.Len(t, pieces, 2, "a new piece needs a place in stageMain")
	dir := t.TempDir()
	for name, content := range map[string]string{
		"go.mod":           "module example.com/stage\n\ngo 1.26.0\n\nrequire " + module + " v0.0.0\n\nreplace " + module + " => " + root + "\n",
		"main.go":          fmt.Sprintf(stageMain, pieces...),
		"tpm/tpm.go":       stageTPM,
		"broker/broker.go": stageBroker,
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	for _, args := range [][]string{{"mod", "tidy"}, {"run", ".", filepath.Join(dir, "state")}} {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
		out, err := cmd.CombinedOutput()
		require.NoErrorf(t, err, "%s", out)
		if args[0] == "run" {
			require.Equal(t, "token from prt <nil>\nunlocked, MFA yes <nil>\n", string(out))
		}
	}
}
