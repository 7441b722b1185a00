package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// draw makes claims.svg: small multiples over the number of machines, one line for each mode, budgets dashed.
func draw(runs []run) string {
	storms := slices.DeleteFunc(slices.Clone(runs), func(r run) bool { return r.Kind != "storm" || r.Measures["seconds"] == 0 })
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", 2*panelWidth, headHeight+(len(panels)+1)/2*panelHeight)
	out.WriteString(`<rect width="100%" height="100%" fill="white"/>` + "\n")
	fmt.Fprintf(&out, `<text x="20" y="26" font-size="18">Claim storms: %s</text>`+"\n", html.EscapeString(caption(storms)))
	for i, mode := range plotModes {
		x := 20 + 150*i
		fmt.Fprintf(&out, `<circle cx="%d" cy="46" r="5" fill="%s"/><text x="%d" y="50">%s</text>`+"\n", x+5, mode.colour, x+16, mode.name)
	}
	fmt.Fprintf(&out, `<line x1="%d" y1="46" x2="%d" y2="46" stroke="#888" stroke-dasharray="5 4"/><text x="%d" y="50">budget, in the colour of its mode</text>`+"\n", 320, 350, 358)
	for i, p := range panels {
		p.draw(&out, float64(i%2*panelWidth), float64(headHeight+i/2*panelHeight), storms)
	}
	out.WriteString("</svg>\n")
	return out.String()
}

func caption(storms []run) string {
	if len(storms) == 0 {
		return "none yet"
	}
	r := storms[len(storms)-1]
	return fmt.Sprintf("as many hosts as machines, %d processes × %d workers, %d CPUs for all, %s", r.Replicas, r.Workers, r.CPUs, r.At.Format("2006-01-02"))
}

const (
	panelWidth, panelHeight, headHeight = 560, 320, 64
	left, right, top, bottom            = 64, 24, 40, 44
)

// plotModes with their colours, and where the numbers stand beside the points, so that two at one place can be read.
var plotModes = []struct {
	name, colour string
	below        float64
}{{optimisticMode, "#1f6fb4", -8}, {leaderMode, "#d1611b", 17}}

// panel is one small chart.
type panel struct {
	title string
	// solid and, if not empty, dotted are measures.
	solid, dotted string
	// budgets by mode are drawn dashed.
	budgets map[string]float64
}

var panels = []panel{
	{title: "claims per second, as a fraction of raw writes per second", solid: "fractionAtOnePace", budgets: map[string]float64{optimisticMode: 0.2, leaderMode: 0.35}},
	{title: "seconds until a machine has its host: p99 (line), median (dotted)", solid: "latencyP99", dotted: "latencyP50"},
	{title: "seconds for all machines", solid: "seconds"},
	{title: "requests (line) and writes (dotted) for each claim", solid: "requestsPerClaim", dotted: "writesPerClaim"},
	{title: "CPU ms for each claim: kube-apiserver (line), claimers (dotted)", solid: "apiCPUMillis", dotted: "cpuMillisPerClaim"},
	{title: "attempts for each claim", solid: "attemptsPerClaim", budgets: map[string]float64{optimisticMode: 1.8}},
}

type point struct{ x, y float64 }

// points of a measure in a mode, by size.
func points(storms []run, mode, measure string) []point {
	var out []point
	for _, r := range storms {
		if value, found := r.Measures[measure]; found && r.Mode == mode {
			out = append(out, point{float64(r.Machines), value})
		}
	}
	slices.SortFunc(out, func(a, b point) int { return int(a.x - b.x) })
	return out
}

func (p panel) draw(out *strings.Builder, x, y float64, storms []run) {
	most, widest := 0.0, 0.0
	for _, r := range storms {
		widest = max(widest, float64(r.Machines))
		most = max(most, r.Measures[p.solid], r.Measures[p.dotted])
	}
	for _, b := range p.budgets {
		most = max(most, b)
	}
	most, step := nice(most)
	plotX := func(v float64) float64 { return x + left + v/max(widest, 1)*(panelWidth-left-right) }
	plotY := func(v float64) float64 { return y + panelHeight - bottom - v/most*(panelHeight-top-bottom) }
	fmt.Fprintf(out, `<text x="%.0f" y="%.0f" font-size="13" font-weight="bold">%s</text>`+"\n", x+20, y+22, html.EscapeString(p.title))
	for v := 0.0; v <= most*1.0001; v += step {
		fmt.Fprintf(out, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#e3e3e3"/><text x="%.1f" y="%.1f" text-anchor="end" fill="#555">%s</text>`+"\n",
			plotX(0), plotY(v), plotX(widest), plotY(v), plotX(0)-8, plotY(v)+4, number(v))
	}
	seen := map[int]bool{}
	for _, r := range storms {
		if !seen[r.Machines] {
			seen[r.Machines] = true
			fmt.Fprintf(out, `<text x="%.1f" y="%.1f" text-anchor="middle" fill="#555">%d</text>`+"\n", plotX(float64(r.Machines)), plotY(0)+18, r.Machines)
		}
	}
	fmt.Fprintf(out, `<text x="%.1f" y="%.1f" text-anchor="end" fill="#555">machines</text>`+"\n", plotX(widest), plotY(0)+34)
	for _, mode := range plotModes {
		if b, found := p.budgets[mode.name]; found {
			fmt.Fprintf(out, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-dasharray="5 4"/>`+"\n", plotX(0), plotY(b), plotX(widest), plotY(b), mode.colour)
		}
		curve(out, points(storms, mode.name, p.solid), plotX, plotY, mode.colour, "", mode.below)
		if p.dotted != "" {
			curve(out, points(storms, mode.name, p.dotted), plotX, plotY, mode.colour, "2 4", mode.below)
		}
	}
}

// curve is a line with a mark and a number at each point.
func curve(out *strings.Builder, list []point, plotX, plotY func(float64) float64, colour, dash string, below float64) {
	var path []string
	for _, at := range list {
		path = append(path, fmt.Sprintf("%.1f,%.1f", plotX(at.x), plotY(at.y)))
		fmt.Fprintf(out, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/><text x="%.1f" y="%.1f" text-anchor="middle" fill="%s" font-size="11">%s</text>`+"\n",
			plotX(at.x), plotY(at.y), colour, plotX(at.x), plotY(at.y)+below, colour, number(at.y))
	}
	fmt.Fprintf(out, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2" stroke-dasharray="%s"/>`+"\n", strings.Join(path, " "), colour, dash)
}

// nice rounds the end of an axis up, and gives the step of its lines.
func nice(most float64) (end, step float64) {
	if most <= 0 {
		return 1, 0.25
	}
	const lines = 5
	unit := math.Pow(10, math.Floor(math.Log10(most/lines)))
	for _, factor := range []float64{1, 2, 2.5, 5, 10} {
		step = unit * factor
		if most <= step*lines {
			break
		}
	}
	return math.Ceil(most*1.001/step) * step, step
}

// number with three digits that count.
func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.3g", v)
	}
	return fmt.Sprintf("%.2g", v)
}
