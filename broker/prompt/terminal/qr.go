package terminal

import (
	"cmp"
	"os"
	"strings"

	"rsc.io/qr"
)

// quiet is the margin of a QR code, in modules (ISO/IEC 18004 asks for 4).
const quiet = 4

// maxQR bounds the text of a QR code. A longer one does not fit a terminal.
const maxQR = 256

// qrCode draws text as a QR code, two modules a character, in black and white
// whatever the colours of the terminal are. It is empty when text does not fit.
func qrCode(text string) string {
	if len(text) > maxQR {
		return ""
	}
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return ""
	}
	var s strings.Builder
	for y := -quiet; y < code.Size+quiet; y += 2 {
		s.WriteString("\x1b[30;107m")
		for x := -quiet; x < code.Size+quiet; x++ {
			s.WriteString(halves[index(code.Black(x, y))<<1|index(code.Black(x, y+1))])
		}
		s.WriteString("\x1b[0m\n")
	}
	return s.String()
}

// halves are characters by their black upper and lower half.
var halves = [4]string{" ", "▄", "▀", "█"}

func index(black bool) int {
	if black {
		return 1
	}
	return 0
}

// unicodeTerminal says whether the environment promises a terminal that shows
// half blocks.
func unicodeTerminal() bool {
	if os.Getenv("TERM") == "dumb" {
		return false
	}
	locale := strings.ToLower(cmp.Or(os.Getenv("LC_ALL"), os.Getenv("LC_CTYPE"), os.Getenv("LANG")))
	return strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8") || os.Getenv("WT_SESSION") != ""
}
