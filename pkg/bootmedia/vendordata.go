package bootmedia

import (
	"encoding/json"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/beskar7/beskar7/pkg/endpoint"
)

// How a machine tells how its bootstrap ended
//
// cloud-init's own phone_home runs after failed commands as well and says
// nothing of them, so it is not used. Vendor data starts a small watcher early
// in the boot instead. It waits until cloud-init is through (result.json is the
// last thing that cloud-init writes), looks for the sentinel file that every
// Cluster API bootstrap provider creates on success, and posts "succeeded" or
// "failed" until it is answered. It is written in Python because cloud-init is:
// where there is one, there is the other.
//
// Vendor data carries the watcher as bootcmd, which is quick to read on the
// drive and in the logs. User data replaces vendor data key by key, so when it
// has a bootcmd of its own, or it cannot be made out whether it has, vendor data
// is a plain script instead, which cloud-init runs ahead of the user's commands
// and which nothing replaces. An installer gets no watcher: it would report, from
// inside the installation, that the bootstrap of the system failed.

// reporter is the watcher; its settings are put before it. A report that was
// answered leaves a mark in the instance's folder, so that later boots of the
// same instance are silent.
const reporter = `
import json, os, ssl, sys, time, urllib.error, urllib.request
RESULT = "/run/cloud-init/result.json"
SENTINEL = "/run/cluster-api/bootstrap-success.complete"
DONE = "/var/lib/cloud/instance/sem/beskar7_phone_home"
PAUSE, TRIES = 10, 360

def outcome():
    errors = []
    try:
        with open(RESULT) as f:
            errors = [str(e) for e in json.load(f).get("v1", {}).get("errors", [])]
    except (OSError, ValueError, AttributeError) as e:
        errors = [type(e).__name__]
    if os.path.exists(SENTINEL):
        return {"outcome": "succeeded", "detail": ""}
    return {"outcome": "failed", "detail": "; ".join(["no " + SENTINEL] + errors)[:500]}

def post(body):
    context = ssl.create_default_context()
    if CA:
        context.load_verify_locations(cadata=CA)
    request = urllib.request.Request(URL, json.dumps(body).encode(), {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with opener.open(request, timeout=30):
        return

def final(e):
    return isinstance(e, urllib.error.HTTPError) and 400 <= e.code < 500 and e.code not in (408, 429)

if os.path.exists(DONE):
    sys.exit(0)
while not os.path.exists(RESULT):
    time.sleep(2)
for attempt in range(TRIES):
    try:
        post(outcome())
        open(DONE, "w").close()
        sys.exit(0)
    except OSError as e:
        if final(e):
            sys.exit("report refused: %d" % e.code)
    time.sleep(PAUSE)
sys.exit("report not delivered")
`

// launcher writes the watcher to a root-only file and starts it detached: as a
// unit where systemd runs, so that the end of cloud-init does not end it.
const launcher = `umask 077
dir=/run/beskar7
mkdir -p "$dir"
cat >"$dir/phone-home.py" <<'END_OF_PHONE_HOME'
%sEND_OF_PHONE_HOME
py=$(command -v python3 || echo /usr/libexec/platform-python)
if [ -d /run/systemd/system ] && systemd-run --quiet --no-block --collect --unit=beskar7-phone-home "$py" "$dir/phone-home.py" >/dev/null 2>&1; then
  exit 0
fi
setsid "$py" "$dir/phone-home.py" </dev/null >/dev/null 2>&1 &
exit 0
`

// vendorData makes the vendor-data file. c.PhoneHomeURL must be an http or https
// URL without credentials.
func vendorData(c Content) ([]byte, error) {
	script, err := reportScript(c)
	if err != nil {
		return nil, err
	}
	if unpack(c.UserData).mentions("bootcmd") {
		return []byte("#!/bin/sh\n" + script), nil
	}
	// In a subshell: bootcmd commands share one shell script.
	doc, err := yaml.Marshal(map[string]any{"bootcmd": [][]string{{"sh", "-c", script}}})
	if err != nil {
		return nil, fmt.Errorf("write vendor-data: %w", err)
	}
	return append([]byte("#cloud-config\n"), doc...), nil
}

func reportScript(c Content) (string, error) {
	u, err := endpoint.Parse(c.PhoneHomeURL)
	if err != nil || u.User != nil {
		return "", fmt.Errorf("the phone-home URL is no http or https URL with a host and without credentials")
	}
	// ASCII JSON strings are Python strings too; the encoder escapes quotes,
	// backslashes and line ends, so no text can leave its literal.
	settings := "CA = " + pythonString(string(c.PhoneHomeCA)) + "\nURL = " + pythonString(u.String()) + "\n"
	return fmt.Sprintf(launcher, settings+strings.TrimPrefix(reporter, "\n")), nil
}

func pythonString(s string) string {
	quoted, err := json.Marshal(strings.ToValidUTF8(s, ""))
	if err != nil { // a string always encodes
		return `""`
	}
	var out strings.Builder
	for _, r := range string(quoted) {
		switch {
		case r < 0x80:
			out.WriteRune(r)
		case r <= 0xFFFF:
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			fmt.Fprintf(&out, `\U%08x`, r)
		}
	}
	return out.String()
}
