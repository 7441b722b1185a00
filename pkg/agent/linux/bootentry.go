package linux

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/google/uuid"
	"github.com/u-root/u-root/pkg/efivarfs"

	"github.com/beskar7/beskar7/pkg/agent"
)

var (
	// global is the vendor GUID of the variables that UEFI defines.
	global    = uuid.MustParse("8be4df61-93ca-11d2-aa0d-00e098032b8c")
	bootEntry = regexp.MustCompile(`^Boot([0-9A-F]{4})$`)
)

// attributes of boot variables: they stay, and both firmware and system read them.
const attributes = efivarfs.AttributeNonVolatile | efivarfs.AttributeBootserviceAccess | efivarfs.AttributeRuntimeAccess

// loaders are the paths at which firmware looks on a disk that has no entry (UEFI 2.10, 3.5.1.1). Every image has one, and the shim
// of a distribution is there, too.
var loaders = map[string]string{"amd64": `\EFI\BOOT\BOOTX64.EFI`, "arm64": `\EFI\BOOT\BOOTAA64.EFI`}

// nvram is the firmware's memory.
type nvram struct{ efivarfs.EFIVar }

// boot makes an entry, the first in the order and the next to boot: firmware that resets the order still takes the one, and firmware
// that drops the one still takes the order.
func (n nvram) boot(e agent.Entry) (string, error) {
	loader, ok := loaders[runtime.GOARCH]
	if !ok {
		return "", fmt.Errorf("no loader is known for %s", runtime.GOARCH)
	}
	option, err := loadOption(e, loader)
	if err != nil {
		return "", err
	}
	used, gone, err := n.purge(e.Label)
	if err != nil {
		return "", err
	}
	number := uint16(0)
	for used[number] {
		number++
	}
	name := fmt.Sprintf("Boot%04X", number)
	if err := n.set(name, option); err != nil {
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	order := slices.DeleteFunc(n.order(), func(o uint16) bool { return o == number || gone[o] })
	if err := n.set("BootOrder", words(append([]uint16{number}, order...))); err != nil {
		return "", fmt.Errorf("write BootOrder: %w", err)
	}
	if err := n.set("BootNext", words([]uint16{number})); err != nil {
		return name, fmt.Errorf("%s is made, and BootNext cannot be written: %w", name, err)
	}
	return name, nil
}

// purge removes the entries with a label, which an earlier deployment made, and says which numbers are in use and which are gone.
func (n nvram) purge(label string) (used, gone map[uint16]bool, err error) {
	all, err := n.List()
	if err != nil {
		return nil, nil, fmt.Errorf("list the firmware's variables: %w", err)
	}
	used, gone = map[uint16]bool{}, map[uint16]bool{}
	for _, v := range all {
		m := bootEntry.FindStringSubmatch(v.Name)
		if m == nil || v.GUID != global {
			continue
		}
		parsed, err := strconv.ParseUint(m[1], 16, 16)
		if err != nil {
			continue
		}
		number := uint16(parsed)
		_, option, err := n.Get(v)
		if err == nil && labelOf(option) == label && n.Remove(v) == nil {
			gone[number] = true
			continue
		}
		used[number] = true
	}
	return used, gone, nil
}

// set writes a variable. Where there is no space, crash dumps of kernels are removed, which fill the memory of many servers.
func (n nvram) set(name string, value []byte) error {
	v := efivarfs.VariableDescriptor{Name: name, GUID: global}
	err := n.Set(v, attributes, value)
	if err == nil {
		return nil
	}
	all, list := n.List()
	if list != nil {
		return err
	}
	removed := 0
	for _, other := range all {
		if strings.HasPrefix(other.Name, "dump-type0-") && n.Remove(other) == nil {
			removed++
		}
	}
	if removed == 0 {
		return err
	}
	return n.Set(v, attributes, value)
}

func (n nvram) order() []uint16 {
	_, data, err := n.Get(efivarfs.VariableDescriptor{Name: "BootOrder", GUID: global})
	if err != nil {
		return nil
	}
	out := make([]uint16, len(data)/2)
	for i := range out {
		out[i] = binary.LittleEndian.Uint16(data[2*i:])
	}
	return out
}

func words(list []uint16) []byte {
	var out []byte
	for _, w := range list {
		out = binary.LittleEndian.AppendUint16(out, w)
	}
	return out
}

const active = 1

// loadOption is an EFI_LOAD_OPTION (UEFI 2.10, 3.1.3) for a file on a partition: a media device path of the hard drive (10.3.5.1)
// and one of the file (10.3.5.4).
func loadOption(e agent.Entry, file string) ([]byte, error) {
	id, err := uuid.Parse(e.Partition.GUID)
	if err != nil {
		return nil, errors.New("the EFI system partition has no GUID")
	}
	le := binary.LittleEndian
	drive := []byte{4, 1, 42, 0}
	drive = le.AppendUint32(drive, uint32(e.Partition.Index))                     //nolint:gosec // at most 1024
	drive = le.AppendUint64(drive, uint64(e.Partition.Start)/uint64(e.BlockSize)) //nolint:gosec // offsets are positive
	drive = le.AppendUint64(drive, uint64(e.Partition.Size)/uint64(e.BlockSize))  //nolint:gosec // sizes are positive
	drive = append(drive, id[3], id[2], id[1], id[0], id[5], id[4], id[7], id[6]) // as disks have it
	drive = append(append(drive, id[8:]...), 2, 2)                                // a GPT, and its GUID
	name := utf16z(file)
	path := append(le.AppendUint16([]byte{4, 4}, uint16(4+len(name))), name...) //nolint:gosec // a short name
	paths := append(append(drive, path...), 0x7F, 0xFF, 4, 0)
	out := le.AppendUint32(nil, active)
	out = le.AppendUint16(out, uint16(len(paths))) //nolint:gosec // as above
	return append(append(out, utf16z(e.Label)...), paths...), nil
}

func utf16z(text string) []byte {
	return append(words(utf16.Encode([]rune(text))), 0, 0)
}

// labelOf is the name of an entry.
func labelOf(option []byte) string {
	if len(option) < 8 {
		return ""
	}
	var units []uint16
	for at := 6; at+2 <= len(option); at += 2 {
		unit := binary.LittleEndian.Uint16(option[at:])
		if unit == 0 {
			return string(utf16.Decode(units))
		}
		units = append(units, unit)
	}
	return string(bytes.ToValidUTF8([]byte(string(utf16.Decode(units))), nil))
}
