//go:build ignore

// Demosvg turns what a program printed into a picture of a terminal:
//
//	make demo | go run scripts/demosvg.go > docs/demo.svg
package main

import (
	"bufio"
	"fmt"
	"html"
	"log"
	"os"
	"strings"
)

const (
	columns    = 118
	charWidth  = 7.25
	lineHeight = 17
	margin     = 16
)

func main() {
	var lines []string
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if strings.HasPrefix(in.Text(), "The device, before step") {
			break // the status page is a picture of its own
		}
		lines = append(lines, cut(in.Text()))
	}
	if err := in.Err(); err != nil {
		log.Fatal(err)
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	lines = append([]string{"$ make demo"}, lines...)
	width, height := columns*charWidth+2*margin, len(lines)*lineHeight+2*margin
	fmt.Printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %d" role="img" aria-label="The output of make demo">
<rect width="100%%" height="100%%" rx="8" fill="#16181d"/>
<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,monospace" font-size="12" fill="#c9d1d9">
`, width, height)
	for i, l := range lines {
		fmt.Printf("<text x=\"%d\" y=\"%d\"%s>%s</text>\n", margin, margin+(i+1)*lineHeight-4, style(l), html.EscapeString(strings.ReplaceAll(l, " ", "\u00a0")))
	}
	fmt.Println("</g>\n</svg>")
}

func cut(s string) string {
	r := []rune(s)
	if len(r) > columns {
		return string(r[:columns-1]) + "…"
	}
	return s
}

// style marks the command and the titles of the steps.
func style(l string) string {
	switch {
	case strings.HasPrefix(l, "$"):
		return ` fill="#7ee787"`
	case l != "" && l[0] >= '1' && l[0] <= '9':
		return ` fill="#ffffff" font-weight="bold"`
	}
	return ""
}
