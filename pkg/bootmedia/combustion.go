package bootmedia

import (
	"bytes"
	"fmt"
	"regexp"
)

// ownScript is where the user's combustion script is when ours runs before it.
const ownScript = "own-script"

// The flags of a combustion script are words of a comment: prepare has it called
// in the initramfs, too, with --prepare; network has the network brought up there.
var (
	wantsPrepare = regexp.MustCompile(`(?m)^# combustion:.*\bprepare\b`)
	wantsNetwork = regexp.MustCompile(`(?m)^# combustion:.*\bnetwork\b`)
)

// firstBoot: these systems run Ignition or a combustion script, once, and have
// no metadata service to ask. A medium may have both. With network data it has a
// combustion script of ours, which puts NetworkManager's keyfiles into the
// initramfs and into the system, and the user's data as it is.
func firstBoot(c Content) (string, []isoFile, error) {
	label, files := labelCombustion, []isoFile{{"combustion/script", c.UserData}}
	switch {
	case c.UserDataFormat == FormatIgnition:
		label, files = labelIgnition, []isoFile{{"ignition/config.ign", c.UserData}}
	case !bytes.HasPrefix(c.UserData, []byte("#!")):
		return "", nil, fmt.Errorf("osFamily %s reads Ignition (format %s) or a combustion script that starts with #!, and the bootstrap data is neither", c.Family, FormatIgnition)
	}
	if len(c.NetworkData) == 0 {
		return label, files, nil
	}
	connections, err := networkFiles(c)
	if err != nil {
		return "", nil, err
	}
	var own []byte
	if label == labelCombustion {
		own, files[0].path = c.UserData, "combustion/"+ownScript
	}
	files = append(files, isoFile{"combustion/script", networkScript(own)})
	for _, f := range connections {
		files = append(files, isoFile{"combustion/network/" + f.name, f.data})
	}
	return label, files, nil
}

// networkScript writes the connections that are beside it, and goes on with the
// user's script, if there is one, with the flags that it asks for.
func networkScript(own []byte) []byte {
	flags, then := "prepare", "exit 0\n"
	if own != nil {
		then = "chmod u+x ./" + ownScript + "\nexec ./" + ownScript + " \"$@\"\n"
		if wantsNetwork.Match(own) {
			flags += " network"
		}
		if !wantsPrepare.Match(own) {
			then = "[ \"${1-}\" != --prepare ] || exit 0\n" + then
		}
	}
	return []byte("#!/bin/sh\n# combustion: " + flags + "\n" +
		"(\n" +
		"\tset -eu\n" +
		"\tumask 077\n" +
		"\tmkdir -p " + connectionsDir + "\n" +
		"\tfor f in network/*.nmconnection; do\n" +
		"\t\tcat \"$f\" >\"" + connectionsDir + "${f##*/}\"\n" +
		"\tdone\n" +
		") || exit 1\n" + then)
}
