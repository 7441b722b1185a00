package linux

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// Mount mounts what PID 1 has to mount, and tells of what it cannot. A kernel without EFI has no place for its variables.
func Mount(say func(format string, args ...any)) {
	for _, m := range []struct{ kind, at string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/run"}, {"securityfs", "/sys/kernel/security"},
	} {
		mount(m.kind, m.kind, m.at, 0, say)
	}
	console()
}

// console has what is said shown: an initramfs without a console of its own leaves its first process without one.
func console() {
	f, err := os.OpenFile("/dev/console", os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close()
	for _, fd := range []int{0, 1, 2} {
		_ = unix.Dup3(int(f.Fd()), fd, 0)
	}
}

// MountVariables mounts the firmware's variables, for which a module is needed.
func MountVariables(say func(format string, args ...any)) {
	if _, err := os.Stat("/sys/firmware/efi"); err == nil {
		mount("efivarfs", "efivarfs", "/sys/firmware/efi/efivars", 0, say)
	}
}

func mount(what, kind, at string, flags uintptr, say func(format string, args ...any)) {
	err := os.MkdirAll(at, 0o755)
	if err == nil || errors.Is(err, fs.ErrExist) {
		err = unix.Mount(what, at, kind, flags, "")
	}
	if err != nil && !errors.Is(err, unix.EBUSY) { // it is mounted already
		say("mount %s: %v", at, err)
	}
}

// mediumFolder is where media are mounted to look for a seed.
const mediumFolder = "/run/medium"

// FindSeed finds the seed: in the initramfs, on the medium, or in the kernel's command line, in this order. medium is the name of the
// device that has it, so that it is not taken for a disk.
func FindSeed(root string) (seed *protocol.Seed, medium string, err error) {
	s := sysfs(root)
	if data, err := os.ReadFile(s.path(protocol.SeedFile)); err == nil {
		seed, err := protocol.DecodeSeed(bytes.NewReader(data))
		return seed, "", err
	}
	var found []error
	for _, d := range s.disks() {
		if !d.VirtualMedia { // on a stick, it may be a tenant's
			continue
		}
		data, err := readMedium(s.path("dev", d.Name))
		if err != nil {
			continue
		}
		seed, err := protocol.DecodeSeed(bytes.NewReader(data))
		if err == nil {
			return seed, d.Name, nil
		}
		found = append(found, fmt.Errorf("%s: %w", d.Name, err))
	}
	line, err := os.ReadFile(s.path("proc/cmdline"))
	if err == nil {
		seed, err = commandLine(string(line))
	}
	if err != nil {
		return nil, "", errors.Join(append(found, err)...)
	}
	return seed, "", nil
}

// readMedium reads the seed of a medium, which stays mounted no longer than that.
func readMedium(device string) (data []byte, err error) {
	if err := os.MkdirAll(mediumFolder, 0o700); err != nil {
		return nil, err
	}
	for _, kind := range []string{"iso9660", "vfat"} {
		if err = unix.Mount(device, mediumFolder, kind, unix.MS_RDONLY|unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_NOSUID, ""); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	data, err = os.ReadFile(sysfs(mediumFolder).path(protocol.SeedFile))
	return data, errors.Join(err, unix.Unmount(mediumFolder, 0))
}

// commandLine is a seed in words of the kernel's command line: beskar7.endpoint, beskar7.capability and beskar7.ca, which is the
// digest of the authority's certificate. They have no room for a network.
func commandLine(line string) (*protocol.Seed, error) {
	seed := &protocol.Seed{}
	for _, word := range strings.Fields(line) {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "beskar7.endpoint":
			seed.Endpoint = value
		case "beskar7.capability":
			seed.Capability = value
		case "beskar7.ca":
			seed.CADigest = value
		}
	}
	if seed.Endpoint == "" && seed.Capability == "" {
		return nil, fmt.Errorf("there is no %s in the initramfs or on a medium, and no beskar7.endpoint in the kernel's command line",
			protocol.SeedFile)
	}
	if err := seed.Check(); err != nil {
		return nil, fmt.Errorf("the kernel's command line: %w", err)
	}
	return seed, nil
}

// PowerOff ends the server. It returns only if the kernel refuses.
func PowerOff() error {
	unix.Sync()
	return unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}
