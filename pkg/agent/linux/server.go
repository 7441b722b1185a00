package linux

import (
	"os"
	"runtime"
	"strings"

	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// server is what SMBIOS says of the system (DSP0134, type 1).
func (s sysfs) server() protocol.Server {
	dmi := func(name string) string { return s.word("sys/class/dmi/id", name) }
	return protocol.Server{UUID: dmi("product_uuid"), Serial: dmi("product_serial"), Manufacturer: dmi("sys_vendor"),
		Model: dmi("product_name")}
}

// secureBoot is the variable by which firmware says whether it checks what it boots (UEFI 2.10, 3.3). Four bytes of attributes come
// before the value.
const secureBoot = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"

func (s sysfs) firmware() protocol.Firmware {
	out := protocol.Firmware{Vendor: s.word("sys/class/dmi/id/bios_vendor"), Version: s.word("sys/class/dmi/id/bios_version"),
		BootMode: protocol.BootBIOS}
	if s.exists("sys/firmware/efi") {
		out.BootMode = protocol.BootUEFI
		value, err := os.ReadFile(s.path(secureBoot))
		out.SecureBoot = err == nil && len(value) == 5 && value[4] == 1
	}
	return out
}

// memory is what the kernel has, in bytes.
func (s sysfs) memory() int64 {
	text, err := os.ReadFile(s.path("proc/meminfo"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			return kilobytes(rest)
		}
	}
	return 0
}

func kilobytes(text string) int64 {
	var n int64
	for _, r := range strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB")) {
		if r < '0' || r > '9' || n > 1<<40 {
			return 0
		}
		n = n*10 + int64(r-'0')
	}
	return n << 10
}

// report is what can be seen without the network.
func (s sysfs) report() *protocol.Report {
	return &protocol.Report{Server: s.server(), Firmware: s.firmware(), Disks: s.disks(), MemoryBytes: s.memory(),
		CPUs: runtime.NumCPU(), Architecture: runtime.GOARCH}
}
