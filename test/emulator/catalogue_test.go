package emulator_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/beskar7/beskar7/test/emulator"
)

// known is one thing that BMCs in the field are known to do, with what here does it and what shows that it is got over.
type known struct {
	what string
	// faults and personas are ours that behave so, by name.
	faults, personas []string
	// tests show what becomes of it, beside the rows of the faults and personas in docs/hardware.md.
	tests []string
}

func faults(names ...string) []string   { return names }
func personas(names ...string) []string { return names }
func tests(names ...string) []string    { return names }

// reported are behaviours from release notes of drivers, one line for each.
var reported = []known{
	{"media still read Inserted after an eject", faults("stale-inserted"), nil, tests("TestStaleInserted")},
	{"an insert right after an eject fails with 5xx", faults("eject-settle"), personas("dell-idrac9"), tests("TestOddities")},
	{"virtual media under Systems only", faults("media-under-system"), personas("dell-idrac10"), tests("TestSystemSlotsComeFirst")},
	{"a slot without an insert action: 405", faults("slot-no-action"), personas("cisco-c845a", "openbmc"), tests("TestSlotWithoutAction")},
	{"DVD only, no CD", faults("dvd-only"), personas("cisco-imc"), nil},
	{"only slot 1 works", faults("first-slot-only"), personas("dell-idrac10"), tests("TestTheNextSlotIsTried")},
	{"Inserted and WriteProtected are refused in an insert", faults("insert-minimal"), personas("supermicro-x11", "supermicro-x12"), tests("TestInsertStartsSmallAndStaysSo")},
	{"no insert action: the slot is PATCHed, with Inserted", faults("insert-patch"), personas("lenovo-xcc"), tests("TestLenovoSlots")},
	{"TransferProtocolType is required", faults("insert-protocol"), personas("nokia"), tests("TestInsertGrows")},
	{"some user name and password are required, with errors without structure", faults("insert-credentials"), personas("nvidia-bmc"), nil},
	{"an eject needs an empty JSON object", faults("eject-object"), personas("hpe-ilo5"), tests("TestEjectBodies")},
	{"? and = in the image's URL are refused; .iso is demanded", faults("url-strict"), personas("supermicro-x12", "fujitsu-irmc"), nil},
	{"the boot target is UsbCd, and Cd on one model", faults("target-usbcd"), personas("supermicro-x11", "supermicro-ars"), tests("TestTargetNotInList")},
	{"the override goes to the settings resource, or must not", faults("boot-settings"), personas("ami-megarac", "dell-idrac10"), tests("TestPendingBoot")},
	{"target, mode and enabled must come together", faults("boot-full"), personas("asrockrack", "ami-megarac"), tests("TestFullBootBody")},
	{"only boot fields that change are taken", faults("boot-changed-only"), nil, nil},
	{"boot changes are refused during POST", faults("post-lock"), personas("hpe-ilo5"), tests("TestPOSTInProgress")},
	{"On is refused with 409 for a while after a power-off", faults("on-conflict"), personas("dell-idrac10"), tests("TestOnComesTooSoon")},
	{"400 for the wrong state shortly after a change of power", faults("wrong-state"), personas("hpe-ilo6"), tests("TestNotReadyForPower")},
	{"SYS518: data sources are not available, any verb", faults("busy"), personas("dell-idrac9"), tests("TestRetryAfter")},
	{"a new job is answered 404 for a while", faults("task-404"), personas("dell-idrac9"), tests("TestVanishedTask")},
	{"ETags required, empty, or weak", faults("etag", "etag-needed"), personas("ami-megarac"), tests("TestIfMatch")},
	{"ForceRestart is reported done while the host stays on", faults("restart-dead"), nil, nil},
	{"an eject harms the live system that runs", faults("eject-crashes"), nil, tests("TestSlotsAreEmptiedInOrder")},
	{"an old session after a password change; a stale connection after 401", faults("password-changed", "sessions-end", "idle-drop"), nil, tests("TestStaleTokenLogsInOnceAndRepeats", "TestAnOldPasswordRefusedLate")},
	{"the fall-back from session to basic auth hides failures", faults("login-fails", "locked-out"), nil, tests("TestBasicAuthRefusedIsFinal")},
	{"ManagedBy is missing, Managers is there", faults("no-managed-by"), personas("huawei-openubmc"), nil},
	{"the sessions' URL is told by the service root", faults("sessions-elsewhere", "sessions-unlinked"), nil, tests("TestRootBehindLogin")},
}

// catalogued are failures that a client must survive.
var catalogued = []known{
	{"stale or expired session", faults("sessions-end", "token-refused"), nil, tests("TestStaleTokenLogsInOnceAndRepeats", "TestSessionsThatAreNotHonouredAreEnded")},
	{"bad password, and the lock-out that follows", faults("password-changed", "locked-out"), nil, tests("TestRefusedLoginIsFinalUntilTargetChanges", "TestRedfishWrongPassword")},
	{"session table full", faults("sessions-full"), nil, tests("TestFullTableIsCleared", "TestRedfishFullSessionTable")},
	{"session service missing, forbidden or unlinked; no token in the answer", faults("no-sessions", "sessions-unlinked", "session-no-token", "session-location", "login-fails"), nil, tests("TestBasicAuthWhereSessionsFail")},
	{"busy, with and without Retry-After; past and absurd dates", faults("busy", "status", "clock"), personas("dell-idrac9"), tests("TestRetryAfter", "TestBusyComesFirst")},
	{"POST in progress", faults("post-lock"), personas("hpe-ilo5"), tests("TestPOSTInProgress")},
	{"power conflict: it is so already, or cannot be now", faults("on-conflict", "wrong-state"), nil, tests("TestOnComesTooSoon", "TestNotReadyForPower")},
	{"412 on an action or on a stale tag", faults("etag-refused", "etag-mismatch"), personas("dell-idrac10"), tests("TestIfMatch", "TestStaleTagIsReadAgain")},
	{"428: a tag is required", faults("etag-needed"), personas("ami-megarac"), tests("TestAMIWantsIfMatch")},
	{"406 to Accept-Encoding identity", faults("identity-refused"), nil, nil},
	{"202 with Location, without, without a body, with an absolute one", faults("async"), nil, tests("TestMountTask")},
	{"a task that is 404 at first, New for ever, or gone at the end", faults("task-404", "task-new", "task-gone"), nil, tests("TestVanishedTask")},
	{"media inserted already, or replaced without a word", faults("insert-replaces", "stale-inserted"), nil, tests("TestStaleInserted")},
	{"eject of an empty slot; an image that stays after it", faults("eject-empty"), nil, tests("TestImageThatStays")},
	{"insert accepted and not mounted (yet)", faults("slow-mount", "insert-unmounted"), personas("ami-megarac"), tests("TestMegaRACMountsInTheBackground", "TestALateMountIsNotGivenBack", "TestAnIgnoredOverride")},
	{"the image's server is out of the BMC's reach", faults("fetch-fails"), nil, tests("TestWhyAMountFailedIsTold")},
	{"a licence is missing", faults("no-licence"), personas("supermicro-h13"), tests("TestALicenceIsNamed")},
	{"a property is not writable, unknown, or not in the list", faults("boot-mode-read-only", "boot-changed-only", "boot-once-only", "insert-minimal"), nil, tests("TestRefusedMode", "TestInsertLeavesOut")},
	{"success with an error inside", faults("error-in-200"), nil, nil},
	{"silent no-op", faults("lie-power", "lie-insert", "lie-eject", "lie-boot", "boot-downgrade"), personas("supermicro-x13"), tests("TestLyingBMC", "TestSilentNoOp", "TestSilentDowngrade")},
	{"the BMC restarts in mid-operation", faults("reboot", "reboot-on-change", "missing", "members-empty", "drop-reply", "reset", "refused"), nil, tests("TestBMCRestart", "TestAnyOneAnswerLost", "TestSlotsThatVanishAreNotEmpty", "TestRedfishUnplugged")},
	{"connections half open or hung", faults("half-open", "hang"), nil, tests("TestTimeouts", "TestCloseDoesNotHangOnADeadBMC")},
	{"power in transition, null, late, flapping or stuck", faults("power-unknown", "power-lag", "power-flaps", "power-stuck"), nil, tests("TestPowerIsNeverGuessed", "TestUnclearPowerIsOnlyLookedAt", "TestAFlappingPowerProvesNoRelease")},
	{"a graceful shutdown that nobody obeys; power that is lost", faults("shutdown-ignored", "power-trips"), nil, tests("TestGracefulShutdownThatIsNotObeyed")},
	{"an override that is ignored, sticks or is lost", faults("override-ignored", "override-sticky", "override-lost"), nil, tests("TestAnIgnoredOverride")},
	{"media that fall out, or are gone when the firmware looks", faults("medium-gone", "medium-lost"), nil, tests("TestALostMedium")},
	{"intermittent nulls", faults("nulls", "null-body"), nil, tests("TestASlotThatSaysNothingIsNotEmpty", "TestAnInsertedMediumIsNoticed")},
	{"malformed: empty, truncated, a web page, a byte order mark, trailing bytes, wrong types", faults("empty", "truncated", "half-json", "html", "bom", "garbage", "wrong-types"), nil, tests("TestKinds")},
	{"members broken, null, missing or in a loop", faults("members-null", "members-missing", "members-loop", "next-link-loop"), nil, tests("TestNextLinkLoop", "TestABrokenListOfMountedMediaIsNotEmpty")},
	{"redirects: to a name with a slash, in a loop, to another host", faults("redirect-evil", "redirect-loop"), personas("hpe-ilo5"), tests("TestRedirects", "TestRedirectedLoginDoesNotLeakThePassword")},
	{"links to another host", faults("link-evil", "link-at"), nil, tests("TestEvilLinks")},
	{"certificates self-signed, expired or changed; old TLS", faults("cert-changed", "cert-expired", "tls-old"), nil, tests("TestTLSModes", "TestOneSkippedVerificationDoesNotSpread")},
	{"slow answers, and huge ones", faults("slow", "drip", "oversized"), nil, tests("TestTimeouts", "TestHugeAnswer")},
	{"the BMC takes https images only, or trusts another CA", faults("https-only"), personas("openbmc"), tests("TestHTTPSMediaNeedTrust", "TestInsertOverPlainHTTPIsExplained")},
	{"a clock that is wrong", faults("clock"), nil, tests("TestRetryAfter")},
	{"spelling and shape of messages", faults("errors-bare", "errors-single", "errors-message-id"), nil, tests("TestKinds")},
	{"PowerCycle that leaves the server off; reset types that are missing", faults("cycle-stays-off", "restart-dead", "no-graceful"), nil, tests("TestResetPicksAnAllowedType")},
	{"no slots before remote media are switched on", faults("slots-hidden"), personas("ami-megarac"), tests("TestRemoteMediaAreSwitchedOn")},
	{"several systems behind one BMC", nil, personas("generic"), tests("TestBladesShareAnEndpoint", "TestSystems")},
}

// TestEveryKnownBehaviourIsHere: each names a fault or a persona that there is, and tests that there are; and no fault is left out.
func TestEveryKnownBehaviourIsHere(t *testing.T) {
	if len(reported) < 28 {
		t.Errorf("%d behaviours that were reported, 28 wanted", len(reported))
	}
	written, listed := testsWritten(t), map[string]bool{}
	names := map[string]bool{}
	for _, f := range emulator.Faults() {
		names[f.Name] = true
	}
	for _, k := range slices.Concat(reported, catalogued) {
		if len(k.faults)+len(k.personas) == 0 {
			t.Errorf("%q: nothing here does that", k.what)
		}
		for _, name := range k.faults {
			listed[name] = true
			if !names[name] {
				t.Errorf("%q: there is no fault %s", k.what, name)
			}
		}
		for _, name := range k.personas {
			if !slices.Contains(emulator.Personas(), name) {
				t.Errorf("%q: there is no persona %s", k.what, name)
			}
		}
		for _, name := range k.tests {
			if !written[name] {
				t.Errorf("%q: there is no test %s", k.what, name)
			}
		}
	}
	for name := range names {
		if !listed[name] {
			t.Errorf("fault %s is in no line of the catalogue", name)
		}
	}
}

// testsWritten are the tests of the driver, of what uses it, and of the emulator.
func testsWritten(t *testing.T) map[string]bool {
	t.Helper()
	name, written := regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9]+)\(`), map[string]bool{}
	for _, dir := range []string{".", "../integration", "../../pkg/redfish", "../../pkg/actuator"} {
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no tests in %s: %v", dir, err)
		}
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range name.FindAllStringSubmatch(string(raw), -1) {
				written[m[1]] = true
			}
		}
	}
	return written
}

func catalogueTables() string {
	var b strings.Builder
	quoted := func(names []string) string {
		if len(names) == 0 {
			return "-"
		}
		return "`" + strings.Join(names, "`, `") + "`"
	}
	for _, part := range []struct {
		title, intro string
		lines        []known
	}{
		{"Reported behaviours", "Each line is a behaviour that release notes of other drivers tell of.", reported},
		{"Failures to survive", "Each line is a sort of failure that a client must survive, as met in the field.", catalogued},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n%s What becomes of it is in the rows of the faults and of the personas in\n[docs/hardware.md](../../docs/hardware.md), and in the tests.\n\n| behaviour | faults | personas | tests |\n| --- | --- | --- | --- |\n", part.title, part.intro)
		for _, k := range part.lines {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", k.what, quoted(k.faults), quoted(k.personas), quoted(k.tests))
		}
	}
	return b.String()
}
