package main

import (
	"bufio"
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// recipe is what examples/tenant/image/Dockerfile says.
type recipe struct {
	from, user         string
	copies             [][]string
	env                []string
	health, entrypoint []string
}

func readRecipe(t *testing.T) (r recipe) {
	t.Helper()
	text, err := os.ReadFile("image/Dockerfile")
	require.NoError(t, err)
	joined := strings.ReplaceAll(string(text), "\\\n", " ")
	for line := range strings.Lines(joined) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "", "#", "EXPOSE":
		case "FROM":
			r.from = rest
		case "COPY":
			r.copies = append(r.copies, strings.Fields(rest))
		case "USER":
			r.user = rest
		case "ENV":
			r.env = strings.Fields(rest)
		case "HEALTHCHECK":
			_, list, ok := strings.Cut(rest, "CMD ")
			require.True(t, ok)
			require.NoError(t, json.Unmarshal([]byte(list), &r.health))
		case "ENTRYPOINT":
			require.NoError(t, json.Unmarshal([]byte(rest), &r.entrypoint))
		default:
			t.Fatalf("the test does not know %s", word)
		}
	}
	return r
}

// The recipe of the image without a container tool: a root directory with what it copies
// and nothing else, which cannot be written to, the user and the environment that it
// says. In it the tenant becomes ready, and its health check sees that.
func TestImageRecipe(t *testing.T) {
	r := readRecipe(t)
	require.Equal(t, "scratch", r.from)
	require.Equal(t, "65532:65532", r.user)
	require.Equal(t, [][]string{{"tenant", "/tenant"}}, r.copies)
	require.Equal(t, []string{"/tenant"}, r.entrypoint)
	require.Contains(t, r.env, "TENANT_DASHBOARD=0.0.0.0:8471")
	require.Equal(t, []string{"/tenant", "-health", "http://127.0.0.1:8471/health"}, r.health)

	root := t.TempDir()
	bin := filepath.Join(root, "tenant")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	file, err := elf.Open(bin)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	for _, p := range file.Progs {
		require.NotEqual(t, elf.PT_INTERP, p.Type, "static: no loader")
	}
	require.NoError(t, os.Chmod(root, 0o555))
	t.Cleanup(func() { _ = os.Chmod(root, 0o755) })

	inImage := func(command []string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
		for _, kv := range r.env { // free ports: other tests may run
			cmd.Env = append(cmd.Env, regexp.MustCompile(`^(TENANT_(?:PROXY|DASHBOARD|LISTEN)=.*:)\d+$`).ReplaceAllString(kv, "${1}0"))
		}
		cmd.Dir, cmd.Stderr = "/", os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532, NoSetGroups: true}}
		if os.Getuid() != 0 { // a name space in which this user is that one
			cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 65532, HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 65532, HostID: os.Getgid(), Size: 1}}
		}
		return cmd
	}
	cmd := inImage(append(r.entrypoint, "-exit-with-parent"))
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var said strings.Builder
	for lines := bufio.NewScanner(stdout); lines.Scan() && lines.Text() != "# ready"; {
		said.WriteString(lines.Text() + "\n")
	}
	dashboard := regexp.MustCompile(`(?m)^# Dashboard: (http://localhost:\d+)/$`).FindStringSubmatch(said.String())
	require.NotNil(t, dashboard, said.String())
	require.Contains(t, said.String(), "# Authority: https://localhost:")
	require.NotContains(t, said.String(), "SSL_CERT_FILE", "there is no directory for the file")
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "status"))
	require.NoError(t, err)
	if os.Getuid() == 0 {
		require.Regexp(t, `(?m)^Uid:\s+65532\s+65532\s+65532\s+65532$`, string(status))
		require.Regexp(t, `(?m)^CapEff:\s+0+$`, string(status))
	}

	health := func() error {
		return inImage([]string{r.health[0], r.health[1], strings.ReplaceAll(dashboard[1], "localhost", "127.0.0.1") + "/health"}).Run()
	}
	require.NoError(t, health())
	require.NoError(t, in.Close())
	require.NoError(t, cmd.Wait())
	var exit *exec.ExitError
	require.ErrorAs(t, health(), &exit, "nothing answers any more")
	require.Equal(t, 1, exit.ExitCode())
}
