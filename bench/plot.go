package main

import (
	"fmt"
	"html"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A bar is one contender's value in a plot, with the least and the most of the
// rounds.
type bar struct {
	label               string
	middle, least, most float64
	decimals            int
	ours                bool
}

// A panel is the bars of one metric, to one scale.
type panel struct {
	title string
	bars  []bar
}

// plot gives the panels of a scenario's plotted metrics; nil without any.
func (r *Report) plot(s Scenario) (panels []panel) {
	for _, m := range s.Metrics() {
		if !m.Plot {
			continue
		}
		p := panel{title: m.Title}
		for _, c := range s.Contenders(r.contenders) {
			values := slices.Collect(maps.Values(r.values(s, c, m.Name)))
			if len(values) == 0 {
				continue
			}
			_, ours := c.(fnhost)
			b := bar{label: c.Name(), decimals: m.Decimals, ours: ours}
			b.middle, b.least, b.most = spread(values)
			p.bars = append(p.bars, b)
		}
		if len(p.bars) > 0 {
			panels = append(panels, p)
		}
	}
	return panels
}

// writePlots writes an SVG for each scenario that has something to plot.
func (r *Report) writePlots(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, s := range r.scenarios {
		panels := r.plot(s)
		if panels == nil {
			continue
		}
		write := func(w io.Writer) error {
			_, err := io.WriteString(w, svg(s.Title(), panels))
			return err
		}
		if err := writeFile(filepath.Join(dir, s.Name()+".svg"), write); err != nil {
			return err
		}
	}
	return nil
}

// Measures of a plot, in pixels.
const (
	plotWidth  = 760
	plotLabels = 190 // for the contenders' names
	plotValues = 90  // for the numbers at the ends of the bars
	plotRow    = 22
	plotHead   = 34 // of the plot, and of each panel
)

// svg draws the panels below each other. The scale of a panel begins at 0.
func svg(title string, panels []panel) string {
	height := plotHead
	for _, p := range panels {
		height += plotHead + plotRow*len(p.bars)
	}
	height += plotRow / 2
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" font-family="sans-serif" font-size="13" role="img">`+"\n", plotWidth, height)
	fmt.Fprintf(&b, "<title>%s</title>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n", html.EscapeString(title))
	text(&b, 12, 22, `font-weight="bold"`, title)
	top := plotHead
	for _, p := range panels {
		text(&b, 12, top+22, `fill="#555"`, p.title)
		p.draw(&b, top+plotHead)
		top += plotHead + plotRow*len(p.bars)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (p panel) draw(b *strings.Builder, top int) {
	scale := 0.0
	for _, bar := range p.bars {
		scale = max(scale, bar.most)
	}
	x := func(v float64) float64 {
		if scale == 0 {
			return plotLabels
		}
		return plotLabels + v/scale*(plotWidth-plotLabels-plotValues)
	}
	for i, bar := range p.bars {
		y, fill := top+i*plotRow, "#9aa0a6"
		if bar.ours {
			fill = "#2f6fde"
		}
		text(b, plotLabels-8, y+15, `text-anchor="end"`, bar.label)
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="14" fill="%s"/>`+"\n", plotLabels, y+3, x(bar.middle)-plotLabels, fill)
		if bar.least < bar.most {
			fmt.Fprintf(b, `<path d="M%.1f %d H%.1f M%[1]f %d v8 M%[3]f %[4]d v8" stroke="#111" fill="none"/>`+"\n", x(bar.least), y+10, x(bar.most), y+6)
		}
		text(b, int(x(max(bar.middle, bar.most)))+8, y+15, `fill="#111"`, fmt.Sprintf("%.*f", bar.decimals, bar.middle))
	}
}

func text(b *strings.Builder, x, y int, attributes, s string) {
	fmt.Fprintf(b, `<text x="%d" y="%d" %s>%s</text>`+"\n", x, y, attributes, html.EscapeString(s))
}
