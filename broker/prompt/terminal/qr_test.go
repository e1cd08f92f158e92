package terminal

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// zbarimg reads what the terminal shows, taken as a picture.
func TestQRCodeIsRead(t *testing.T) {
	zbar, err := exec.LookPath("zbarimg")
	if err != nil {
		if os.Getenv("PRTBROKER_REQUIRE_TOOLS") == "1" {
			t.Fatal("zbarimg is missing: apt-get install zbar-tools")
		}
		t.Skip("zbarimg (Debian package zbar-tools) is not installed")
	}
	for _, text := range []string{"https://microsoft.com/devicelogin", "https://login.microsoft.com/device", "https://login.partner.microsoftonline.cn/common/oauth2/deviceauth"} {
		picture := filepath.Join(t.TempDir(), "code.pgm")
		require.NoError(t, os.WriteFile(picture, draw(qrCode(text)), 0o600))
		out, err := exec.CommandContext(t.Context(), zbar, "--quiet", "--raw", picture).Output()
		require.NoError(t, err)
		require.Equal(t, text, strings.TrimSpace(string(out)))
	}
}

func TestQRCodeTooLong(t *testing.T) {
	require.Empty(t, qrCode("https://login.microsoft.com/"+strings.Repeat("x", 300)))
}

// draw makes a grey picture (PGM) of half blocks, four pixels a module.
func draw(code string) []byte {
	const scale = 4
	var rows []string
	for l := range strings.Lines(code) {
		l = strings.TrimSuffix(strings.TrimPrefix(l, "\x1b[30;107m"), "\x1b[0m\n")
		var upper, lower strings.Builder
		for _, r := range l {
			upper.WriteString(strings.Repeat(map[bool]string{true: " 0", false: " 255"}[r == '▀' || r == '█'], scale))
			lower.WriteString(strings.Repeat(map[bool]string{true: " 0", false: " 255"}[r == '▄' || r == '█'], scale))
		}
		for _, row := range []string{upper.String(), lower.String()} {
			for range scale {
				rows = append(rows, row)
			}
		}
	}
	return fmt.Appendf(nil, "P2\n%d %d\n255\n%s\n", strings.Count(rows[0], " "), len(rows), strings.Join(rows, "\n"))
}
