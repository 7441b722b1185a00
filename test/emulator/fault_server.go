package emulator

// lieFaults answer success and do nothing.
func lieFaults() []*fault {
	lie := func(name, what string) *fault {
		return &fault{Fault: Fault{Group: "lies", Name: name, Does: what + " is answered with success, and nothing happens", Source: "field notes: silent no-op", Requests: true}}
	}
	return []*fault{
		lie("lie-power", "a reset"), lie("lie-insert", "an insert"), lie("lie-eject", "an eject"), lie("lie-boot", "a boot override"),
	}
}

func mediaFaults() []*fault {
	return []*fault{
		{Fault: Fault{Group: "media", Name: "stale-inserted", Does: "an ejected medium still reads Inserted for a while", Arg: "duration", Default: "2s", Source: "ironic note fix-redfish-vmedia-stale-insert-skip"}, kind: argDuration},
		{Fault: Fault{Group: "media", Name: "insert-unmounted", Does: "an inserted medium reads Inserted and is not there for the server", Source: "python-ilorest-library #7"}},
		{Fault: Fault{Group: "media", Name: "slow-mount", Does: "an insert is answered at once and done later", Arg: "duration", Default: "5s", Source: "bmclib AMI"}, kind: argDuration},
		{Fault: Fault{Group: "media", Name: "eject-settle", Does: "inserts after an eject fail with 5xx for a while", Arg: "duration", Default: "2s", Source: "ironic note fix-redfish-vmedia-insert-retry"}, kind: argDuration},
		{Fault: Fault{Group: "media", Name: "fetch-fails", Does: "the BMC does not reach the image's server", Source: "iDRAC-Redfish-Scripting #60, #265"}},
		{Fault: Fault{Group: "media", Name: "medium-lost", Does: "media are gone when the firmware looks for them"}},
		{Fault: Fault{Group: "media", Name: "medium-gone", Does: "all media fall out now, without being asked"},
			start: func(b *BMC, _ *active) error { b.loseMediaLocked(cause{who: ByOutside}); return nil }},
		{Fault: Fault{Group: "media", Name: "eject-crashes", Does: "an eject under a running system restarts the server", Source: "ironic note poweroff-before-redfish-vmedia-eject-cleanupramdisk"}},
		{Fault: Fault{Group: "media", Name: "first-slot-only", Does: "only the first slot takes images, others answer 400", Source: "ironic note idrac10-vmedia-slot1"}},
	}
}

func bootFaults() []*fault {
	return []*fault{
		{Fault: Fault{Group: "boot", Name: "override-ignored", Does: "the firmware boots from the disk whatever the override says, and consumes it"}},
		{Fault: Fault{Group: "boot", Name: "override-sticky", Does: "an override for once stays", Source: "field notes"}},
		{Fault: Fault{Group: "boot", Name: "override-lost", Does: "the override is gone after a power-off", Source: "field notes"}},
		{Fault: Fault{Group: "boot", Name: "boot-downgrade", Does: "an override is answered with success and left Disabled and Legacy", Source: "bmclib fixtures/supermicro/README.md"}},
	}
}

func powerFaults() []*fault {
	return []*fault{
		{Fault: Fault{Group: "power", Name: "power-lag", Does: "readings of the power are late", Arg: "duration", Default: "3s", Source: "field notes"}, kind: argDuration},
		{Fault: Fault{Group: "power", Name: "power-flaps", Does: "every second reading of the power is the opposite"}},
		{Fault: Fault{Group: "power", Name: "power-unknown", Does: "PowerState is null or an empty text", Arg: "null | empty", Default: "null", Source: "field notes: power transitional"}, kind: argChoice},
		{Fault: Fault{Group: "power", Name: "power-stuck", Does: "a power-off does not end while the fault is on"},
			stop: func(b *BMC, _ *active) { b.unstickLocked() }},
		{Fault: Fault{Group: "power", Name: "power-trips", Does: "the server loses its power now"},
			start: func(b *BMC, _ *active) error { b.cutLocked("tripped"); return nil }},
		{Fault: Fault{Group: "power", Name: "shutdown-ignored", Does: "the system does not listen to a graceful shutdown", Source: "metal-operator PR #129"}},
		{Fault: Fault{Group: "power", Name: "on-conflict", Does: "On is answered 409 for a while after a power-off", Arg: "duration", Default: "2s", Source: "ironic note redfish-power-on-conflict-retry"}, kind: argDuration},
		{Fault: Fault{Group: "power", Name: "wrong-state", Does: "resets are answered 400 for a while after a change of power", Arg: "duration", Default: "2s", Source: "sushy note retry-ilo-not-ready-error"}, kind: argDuration},
		{Fault: Fault{Group: "power", Name: "restart-dead", Does: "ForceRestart is answered with success and the server runs on", Source: "ironic note redfish-power"},
			trait: func(p *persona, _ *active) { p.power.deadRestart = true }},
		{Fault: Fault{Group: "power", Name: "cycle-stays-off", Does: "PowerCycle leaves the server off", Source: "infra-controller PR #5589"},
			trait: func(p *persona, _ *active) { p.power.cycleOff = true }},
	}
}

// traitFaults give a BMC a trait of other vendors.
func traitFaults() []*fault {
	trait := func(name, does, source string, f func(p *persona, a *active)) *fault {
		return &fault{Fault: Fault{Group: "traits", Name: name, Does: does, Source: source}, trait: f}
	}
	etag := trait("etag", "ETags are weak, empty or missing", "sushy notes fix-missing-etags, ignore-empty-string-etags, fix-return-full-weak-etag", func(p *persona, a *active) {
		p.http.etag = map[string]etagForm{"weak": etagWeak, "empty": etagEmpty, "none": etagNone}[a.text]
	})
	etag.Arg, etag.Default, etag.kind = "weak | empty | none", "weak", argChoice
	ejectEmpty := trait("eject-empty", "an eject of an empty slot is answered with this status", "field notes", func(p *persona, a *active) { p.media.ejectEmpty = int(a.number) })
	ejectEmpty.Arg, ejectEmpty.Default, ejectEmpty.kind = "number", "500", argNumber
	return []*fault{
		etag,
		trait("etag-needed", "a PATCH without If-Match is answered 428", "field notes: 428", func(p *persona, _ *active) { p.http.needTag = true }),
		trait("etag-refused", "an action with If-Match is answered 412", "metal-operator 7bc956a5", func(p *persona, _ *active) { p.http.refuseTag = true }),
		trait("media-under-system", "virtual media are under Systems only", "ironic note add-vmedia-system-support", func(p *persona, _ *active) { p.media.home = mediaUnderSystem }),
		trait("slot-no-action", "the first slot has no insert action: 405", "ironic note cisco-c845a-vmedia-fix", func(p *persona, _ *active) { p.media.slots[0].local = true }),
		trait("dvd-only", "slots say DVD, not CD", "ironic note handle-dvd-only-vmedia", func(p *persona, _ *active) {
			for i := range p.media.slots {
				if accepts(p.media.slots[i].types, "CD") {
					p.media.slots[i].types = []string{"DVD"}
				}
			}
		}),
		trait("insert-minimal", "Inserted and WriteProtected are refused in an insert", "sushy note fix-insert-media-payload", func(p *persona, _ *active) {
			p.media.refuses = []string{"Inserted", "WriteProtected"}
		}),
		trait("insert-patch", "no actions: a slot is PATCHed, with Inserted", "sushy note fix-virtual-media-fallback", func(p *persona, _ *active) {
			p.media.insert, p.media.needs = insertByPatch, []string{"Inserted"}
		}),
		trait("insert-protocol", "TransferProtocolType is needed", "sushy note retry-if-transferprototype-missing", func(p *persona, _ *active) {
			p.media.needs = []string{"TransferProtocolType"}
		}),
		trait("insert-credentials", "UserName and Password are needed; the error is plain text", "sushy notes vmedia-blank-auth, insertmedia-credentials-detection", func(p *persona, _ *active) {
			p.media.needs, p.media.vague = []string{"UserName", "Password"}, true
		}),
		trait("eject-object", "an eject needs an empty JSON object", "sushy note fix-eject-media-empty-dict", func(p *persona, _ *active) { p.media.ejectObject = true }),
		trait("url-strict", "image URLs with ?, & or = are refused, and those not ending in .iso", "ironic note remove-filename-param-from-vmedia-url", func(p *persona, _ *active) {
			p.media.plainURL, p.media.strictURL, p.media.suffixes = true, true, []string{".iso"}
		}),
		trait("https-only", "images over https only", "field notes", func(p *persona, _ *active) { p.media.schemes = []string{"https"} }),
		trait("target-usbcd", "the virtual CD is the boot target UsbCd", "sushy note change-bootdev-smc", func(p *persona, _ *active) {
			p.boot.targets = []string{"None", "Pxe", "UsbCd", "Hdd", "BiosSetup"}
		}),
		trait("boot-settings", "the boot override is at the settings resource; the system's is read only", "sushy notes check-for-boot-attrs-in-settingsuri, idrac10-settings-resource", func(p *persona, _ *active) {
			p.boot.settings, p.boot.settingsID, p.boot.listElsewhere = "Settings", "PropertyNotWritable", true
		}),
		trait("boot-full", "target, mode and enabled must be sent together", "ironic note fix-redfish-boot-device-full-request", func(p *persona, _ *active) { p.boot.full = true }),
		trait("boot-changed-only", "a boot property that would not change is refused", "sushy note decouple-boot-params", func(p *persona, _ *active) { p.boot.changedOnly = true }),
		trait("boot-mode-read-only", "BootSourceOverrideMode is read only", "field notes: iLO", func(p *persona, _ *active) { p.boot.mode = modeReadOnly }),
		trait("boot-once-only", "Continuous is no allowable value", "field notes", func(p *persona, _ *active) { p.boot.enabled = []string{"Disabled", "Once"} }),
		trait("post-lock", "boot changes are refused during POST", "ironic note redfish-post-boot-retry", func(p *persona, _ *active) { p.boot.duringPOST = true }),
		trait("no-managed-by", "the system does not say which manager it has", "sushy note retry-on-missing-managedby", func(p *persona, _ *active) { p.noManagedBy = true }),
		trait("no-graceful", "reset types without GracefulShutdown", "field notes", func(p *persona, _ *active) {
			p.power.types = []string{"On", "ForceOff", "ForceRestart"}
		}),
		trait("insert-replaces", "an insert into a full slot replaces the medium without a word", "field notes: sushy-tools", func(p *persona, _ *active) { p.media.replaces = true }),
		ejectEmpty,
		trait("slots-hidden", "the virtual media collection is empty", "field notes: AMI", func(p *persona, _ *active) { p.media.hidden = true }),
	}
}
