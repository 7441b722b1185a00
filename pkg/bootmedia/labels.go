package bootmedia

import (
	"regexp"
	"slices"
	"strings"
)

var (
	// labelled finds what follows LABEL= (dracut, live-boot, systemd, KIWI's
	// root=install:CDLABEL=, Arch's archisolabel=) and by-label/ (udev's links).
	labelled = regexp.MustCompile(`(?i)(?:LABEL=|by-label/|\bcoreos\.liveiso=)(?:"([^"]+)"|'([^']+)'|([^\s"';,]+))`)
	// variable is GRUB's way to name a value once: set name=value.
	variable = regexp.MustCompile(`(?m)^\s*set\s+([A-Za-z_][A-Za-z0-9_]*)=(?:"([^"\n]*)"|'([^'\n]*)'|(\S*))`)
	used     = regexp.MustCompile(`\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))`)
	// word is one argument of GRUB's, quotes included: they may begin within it.
	word = regexp.MustCompile(`(?:"[^"]*"|'[^']*'|\\.|[^\s"';{}])+`)
)

// namesLabel tells whether a configuration looks for the volume by its label.
func namesLabel(text, label string) bool {
	if label == "" {
		return false
	}
	text = expand(text)
	for _, m := range labelled.FindAllStringSubmatch(text, -1) {
		// What is behind a colon is a path on the volume: inst.stage2=hd:LABEL=x:/y.
		name, _, _ := strings.Cut(m[1]+m[2]+m[3], ":")
		if sameLabel(name, label) || sameLabel(m[1]+m[2]+m[3], label) {
			return true
		}
	}
	for line := range strings.Lines(text) {
		if searchesLabel(word.FindAllString(line, -1), label) {
			return true
		}
	}
	return false
}

// expand puts GRUB's variables in where they are used. A value is taken from
// wherever it is set: which of several is in force cannot be told, so all of them
// count.
func expand(text string) string {
	values := map[string][]string{}
	for _, m := range variable.FindAllStringSubmatch(text, -1) {
		values[m[1]] = append(values[m[1]], m[2]+m[3]+m[4])
	}
	if len(values) == 0 {
		return text
	}
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString(line)
		m := used.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		for _, v := range values[m[1]+m[2]] {
			out.WriteString(strings.TrimSuffix(strings.NewReplacer("${"+m[1]+m[2]+"}", v, "$"+m[1]+m[2], v).Replace(line), "\n") + "\n")
		}
	}
	return out.String()
}

// searchesLabel tells whether the words of a line are a search of GRUB's for the
// label. The name may stand anywhere behind the command, as the options that say
// what it is take none: search --label --set=root NAME, search -nl NAME.
func searchesLabel(words []string, label string) bool {
	at := slices.IndexFunc(words, func(w string) bool { return w == "search" || w == "search.fs_label" })
	if at < 0 {
		return false
	}
	byLabel := words[at] == "search.fs_label"
	for _, w := range words[at+1:] {
		bundle := len(w) > 1 && w[0] == '-' && w[1] != '-'
		byLabel = byLabel || w == "--label" || strings.HasPrefix(w, "--label=") || bundle && strings.Contains(w, "l")
	}
	return byLabel && slices.ContainsFunc(words[at+1:], func(w string) bool {
		return sameLabel(strings.TrimPrefix(w, "--label="), label) || strings.HasPrefix(w, "-l") && sameLabel(w[2:], label)
	})
}

// sameLabel compares a label as it is written in a configuration with that of a
// volume: dracut and udev write a space as \x20, live-boot as an underscore, GRUB
// and the kernel as \040 or behind a backslash.
func sameLabel(written, label string) bool {
	name := strings.NewReplacer(`\x20`, " ", `\040`, " ", `\ `, " ", `"`, "", `'`, "").Replace(written)
	return strings.EqualFold(name, label) || strings.EqualFold(name, strings.ReplaceAll(label, " ", "_"))
}
