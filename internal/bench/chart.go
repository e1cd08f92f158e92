package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// Charts are SVG with their own style for light and dark pages, wide enough for
// a desk and with letters large enough for a phone.

const (
	chartWidth = 520
	letter     = 7.2 // the width of one at 13 px, about
	boldLetter = 8.2
)

// palette is Okabe and Ito's, whose colours people with colour blindness can
// tell apart.
var palette = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f"}

const style = `<style>
text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:#1f2328}
.title{font-size:15px;font-weight:600}.quiet{fill:#59636e}.grid{stroke:#d1d9e0;stroke-width:1}
.back{fill:#fff}
@media (prefers-color-scheme:dark){text{fill:#f0f6fc}.quiet{fill:#9198a1}.grid{stroke:#3d444d}.back{fill:#0d1117}}
</style>
`

type point struct{ x, y float64 }

// A line is one series of a chart.
type line struct {
	label  string
	points []point
}

// A plot is lines over logarithmic axes.
type plot struct {
	title    string
	under    string // what x and y are
	lines    []line
	x        []float64 // where the axis has words
	formatX  func(float64) string
	formatY  func(float64) string
	hasWords string // for readers who cannot see the chart
}

func (p plot) svg() string {
	const top, left, bottom, height = 62, 62, 40, 360
	labels := 0
	lowX, highX, lowY, highY := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, l := range p.lines {
		labels = max(labels, len([]rune(l.label)))
		for _, q := range l.points {
			lowX, highX = min(lowX, q.x), max(highX, q.x)
			lowY, highY = min(lowY, q.y), max(highY, q.y)
		}
	}
	right := int(float64(labels)*boldLetter) + 16
	lowY, highY = math.Pow(10, math.Floor(math.Log10(lowY))), math.Pow(10, math.Ceil(math.Log10(highY)))
	across := func(x float64) float64 {
		return left + math.Log(x/lowX)/math.Log(highX/lowX)*float64(chartWidth-left-right)
	}
	up := func(y float64) float64 {
		return float64(height-bottom) - math.Log(y/lowY)/math.Log(highY/lowY)*float64(height-top-bottom)
	}
	var b strings.Builder
	begin(&b, height, p.title, p.under, p.hasWords)
	for y := lowY; y <= highY*1.01; y *= 10 {
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text class="quiet" x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, chartWidth-right, up(y), up(y), left-8, up(y)+4, html.EscapeString(p.formatY(y)))
	}
	for _, x := range p.x {
		fmt.Fprintf(&b, `<text class="quiet" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", across(x), height-bottom+22, html.EscapeString(p.formatX(x)))
	}
	at := make([]float64, len(p.lines))
	for i, l := range p.lines {
		at[i] = up(l.points[len(l.points)-1].y)
	}
	spread(at, 15)
	for i, l := range p.lines {
		color := palette[i%len(palette)]
		var path []string
		for _, q := range l.points {
			path = append(path, fmt.Sprintf("%.1f,%.1f", across(q.x), up(q.y)))
		}
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="2.5" points="%s"/>`+"\n", color, strings.Join(path, " "))
		for _, q := range l.points {
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`, across(q.x), up(q.y), color)
		}
		fmt.Fprintf(&b, "\n"+`<text x="%d" y="%.1f" style="fill:%s;font-weight:600">%s</text>`+"\n", chartWidth-right+10, at[i]+4, color, html.EscapeString(l.label))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// spread moves labels apart that would otherwise cover each other.
func spread(at []float64, apart float64) {
	order := make([]int, len(at))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		if at[i] < at[j] {
			return -1
		}
		return 1
	})
	for range 200 {
		for n := 1; n < len(order); n++ {
			i, j := order[n-1], order[n]
			if gap := at[j] - at[i]; gap < apart {
				at[i] -= (apart - gap) / 2
				at[j] += (apart - gap) / 2
			}
		}
	}
}

// A bar is one value of a bar chart; colour is an index into the palette.
type bar struct {
	label  string
	value  float64
	words  string // the text at its end
	colour int
}

// A barChart is bars from a common zero.
type barChart struct {
	title, under string
	bars         []bar
	legend       []string // what the colours mean; nil: nothing
	hasWords     string
}

func (c barChart) svg() string {
	const row, gap = 20, 7
	top := 58
	if c.legend != nil {
		top += 24
	}
	labels, words, most := 0, 0, 0.0
	for _, x := range c.bars {
		labels, words, most = max(labels, len([]rune(x.label))), max(words, len([]rune(x.words))), max(most, x.value)
	}
	left, right := int(float64(labels)*7)+22, int(float64(words)*letter)+14
	var b strings.Builder
	height := top + 12
	for _, x := range c.bars {
		height += row
		if x.label != "" {
			height += gap
		}
	}
	begin(&b, height, c.title, c.under, c.hasWords)
	at := 14.0
	for i, l := range c.legend {
		fmt.Fprintf(&b, `<rect x="%.0f" y="58" width="12" height="12" rx="2" fill="%s"/><text x="%.0f" y="69">%s</text>`+"\n", at, palette[i], at+18, html.EscapeString(l))
		at += 18 + float64(len([]rune(l)))*letter + 22
	}
	y := top
	for _, x := range c.bars {
		if x.label != "" {
			y += gap
		}
		width := x.value / most * float64(chartWidth-left-right)
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text><rect x="%d" y="%d" width="%.1f" height="%d" rx="2" fill="%s"/><text class="quiet" x="%.1f" y="%d">%s</text>`+"\n",
			left-8, y+14, html.EscapeString(x.label), left, y, max(width, 1.5), row-4, palette[x.colour], float64(left)+width+6, y+13, html.EscapeString(x.words))
		y += row
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func begin(b *strings.Builder, height int, title, under, words string) {
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" viewBox="0 0 %d %d" role="img" aria-label="%s">`+"\n",
		chartWidth, chartWidth, height, html.EscapeString(words))
	b.WriteString(style)
	fmt.Fprintf(b, `<rect class="back" width="100%%" height="100%%" rx="8"/><text class="title" x="14" y="25">%s</text><text class="quiet" x="14" y="45">%s</text>`+"\n",
		html.EscapeString(title), html.EscapeString(under))
}
